"""GLUE's unlabelled test files and the files of a submission: which of them are whose, and how answers are written.

A submission is a zip of one file a test set, with the columns `index` (rows counted from 0) and `prediction`. Tasks are
those of the suite `glue`; what they write for a label is what their definition's files have for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.kinds.base import TaskInfo

HEADER = "index\tprediction\n"
ARCHIVE = "submission.zip"


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """One file of a submission: the `task` that answers it, its rows in a folder of GLUE's layout, and their columns.

    `rows` are those of the official file.
    """

    name: str
    task: str
    paths: tuple[str, ...]
    columns: Mapping[str, str]
    rows: int


def _pair(first: str = "sentence1", second: str = "sentence2") -> dict[str, str]:
    return {"text": first, "text_pair": second}


TEST_SETS = (
    Unlabelled("CoLA", "cola", ("glue/CoLA/test.tsv",), {"text": "sentence"}, 1063),
    Unlabelled("SST-2", "sst2", ("glue/SST-2/test.tsv",), {"text": "sentence"}, 1821),
    Unlabelled("MRPC", "mrpc", ("glue/MRPC/test.tsv",), _pair("#1 String", "#2 String"), 1725),
    Unlabelled("STS-B", "stsb", ("glue/STS-B/test.tsv",), _pair(), 1379),
    Unlabelled("QQP", "qqp", ("glue/QQP/test.tsv",), _pair("question1", "question2"), 390965),
    Unlabelled("MNLI-m", "mnli", ("glue/MNLI/test_matched.tsv",), _pair(), 9796),
    Unlabelled("MNLI-mm", "mnli", ("glue/MNLI/test_mismatched.tsv",), _pair(), 9847),
    Unlabelled("QNLI", "qnli", ("glue/QNLI/test.tsv",), _pair("question", "sentence"), 5463),
    Unlabelled("RTE", "rte", ("glue/RTE/test.tsv",), _pair(), 3000),
    Unlabelled("WNLI", "wnli", ("glue/WNLI/test.tsv",), _pair(), 146),
    Unlabelled("AX", "mnli", ("glue/AX/AX.tsv", "glue/diagnostic/diagnostic.tsv"), _pair(), 1104),
)


def written_labels(info: TaskInfo, label_map: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What a submission has for each label: the value that the task's files have for it."""
    values = {label: value for value, label in label_map}
    return {label: values.get(label, label) for label in info.labels}


def prediction(info: TaskInfo, answer: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """An answer (`Kind.row_answers`) as a submission has it: a label, or a score within its range (three decimals)."""
    if info.range is not None:
        low, high = info.range
        return f"{min(max(answer['score'], low), high):.3f}"
    return labels[answer["label"]]
