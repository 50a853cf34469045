"""The definitions on the real files: every row is there, and none is rejected (quotes, marks and headers in them)."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import good, only
from tests.real.test_real import DATA, needs_data

pytestmark = [pytest.mark.slow, needs_data]

ROWS = {
    "cola": (8551, 1043), "sst2": (67349, 872), "mrpc": (3667, 408), "stsb": (5749, 1500), "rte": (2490, 277),
    "wnli": (635, 71), "qnli": (5224, 5463), "mnli": (13164, 9815), "qqp": (10000, 10000), "atis-intent": (4478, 893),
    "snips-intent": (13084, 700), "banking77": (10003, 3080), "clinc150": (15000, 4500),
}  # fmt: skip
# What a reader that is wrong about quotes, marks or line ends would lose or change: a piece of one text each.
TRAPS = {
    "cola": "Our friends won't buy this analysis",  # the first line: there is no header
    "mrpc": 'Amrozi accused his brother , whom he called " the witness "',  # after a byte-order mark
    "banking77": "I am still waiting on my card?",
}


@pytest.mark.parametrize("task", ROWS)
def test_every_row_is_read(task: str, tmp_path: Path) -> None:
    good("download", "-t", task, "--from", DATA, "-w", tmp_path)
    folder = only(tmp_path, f"download/{task}-*")
    tables = {file.stem: pq.read_table(file) for file in folder.glob("*.parquet")}
    assert tables.pop("rejected").num_rows == 0
    train = tables.pop("train")
    assert (train.num_rows, *(table.num_rows for table in tables.values())) == ROWS[task]
    assert train["row"].to_pylist() == list(range(train.num_rows))
    assert any(TRAPS.get(task, "") in text for text in train["text"].to_pylist()[:3])
    paired = train["text_pair"].null_count == 0
    assert paired == (task in ("mrpc", "stsb", "rte", "wnli", "qnli", "mnli", "qqp"))
