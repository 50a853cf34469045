"""`compare`: two runs, or two kinds of runs over their seeds, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from adaptershare_cli.commands.output import opened_output
from adaptershare_cli.data.files import is_folder
from adaptershare_cli.data.names import near_names
from adaptershare_cli.data.row_writers import row_writer
from adaptershare_cli.data.whole_rows import WholeRow, format_of
from adaptershare_cli.errors import UserError
from adaptershare_cli.reporting.difference_table import difference_table, flip_table
from adaptershare_cli.runs.choose import one_run, select_runs
from adaptershare_cli.runs.results import check_results
from adaptershare_cli.screen import Screen
from adaptershare_cli.store.artefact import META, Artefact
from adaptershare_cli.store.workspace import Workspace
from adaptershare_cli.studies.differing import compare_tasks, flips
from adaptershare_cli.studies.pairing import Prepared, Side, paired_tasks

BLOCK = 1000  # rows that are written at once
COLUMNS = {
    "task": pa.string(), "split": pa.string(), "seed_a": pa.int64(), "seed_b": pa.int64(), "row": pa.int64(),
    "place": pa.int64(), "word": pa.string(), "label": pa.string(), "a": pa.string(), "b": pa.string(),
    "better": pa.string(), "text": pa.string(), "text_pair": pa.string(),
    "id": pa.string(),
}  # fmt: skip


def compare_runs(
    workspace: Workspace,
    words: tuple[str, str],
    tasks: str | None,
    shown: int,
    output: Path | None,
    screen: Screen,
) -> dict[str, Any]:
    """Compare what two words name, say it, and return it for programs.

    `shown`: how many of the rows are shown on which they differ; `output`: a file for all of them. Raises UserError
    where no task can be compared.
    """
    form = None if output is None else format_of(output.name, "--output")
    if form == "text":
        raise UserError("The rows have several columns", "--output", "Write Parquet, CSV, TSV or JSONL.")
    a, b = (Side.of(word, _runs(workspace, word, screen)) for word in words)
    prepared = Prepared(workspace)
    pairs, refused = paired_tasks(prepared, a, b, _wanted(tasks, a, b))
    if not pairs:
        task, why = next(iter(refused.items()))
        more = f" (and {len(refused) - 1} more tasks)" if len(refused) > 1 else ""
        raise UserError(f"{task} cannot be compared: {why.what}{more}", why.where or " and ".join(words), why.fix)
    found = compare_tasks(pairs)
    for name, side in (("A", a), ("B", b)):
        screen.line(f"{name}: {', '.join(side.labels)}")
    screen.table(difference_table(found.rows))
    for note in found.notes:
        screen.line(note)
    for task, why in refused.items():
        where = f" ({why.where})" if why.where else ""
        screen.line(f"{task}: not compared: {why.what}{where}. {why.fix}".rstrip())
    if shown:
        screen.table(flip_table([row for pair in pairs for row in islice(flips(prepared, [pair]), shown)]))
    if output is not None:
        with opened_output(output) as stream:
            writer = row_writer(form or "parquet", stream, (), COLUMNS, pa.schema([]))
            differing = (WholeRow(number, row) for number, row in enumerate(flips(prepared, pairs), 1))
            while block := list(islice(differing, BLOCK)):
                writer.write(block)
            writer.close()
        screen.path(str(output))
    told = {task: {"what": why.what, "where": why.where, "fix": why.fix} for task, why in refused.items()}
    return {"a": a.labels, "b": b.labels, "rows": found.rows, "notes": found.notes, "refused": told,
            "output": str(output or "")}  # fmt: skip


def _runs(workspace: Workspace, word: str, screen: Screen) -> list[Artefact]:
    """The runs that a word names, verified. A path may lead out of the workspace.

    A damaged one that is not named itself is told and left out, as long as others are whole.
    """
    if is_folder(Path(word)) and (Path(word) / META).is_file():
        runs = [one_run(workspace, word, screen)]
        check_results(runs[0])
        return runs
    return select_runs(workspace, word, "RUN", check=check_results, passed_over=screen.fault)


def _wanted(tasks: str | None, a: Side, b: Side) -> Sequence[str]:
    """The tasks of --task. Raises UserError for one that neither side has."""
    words = [word for part in (tasks or "").split(",") if (word := part.strip())]
    known = list(dict.fromkeys([*a.runs, *b.runs]))
    for task in words:
        if task not in known:
            fix = f"{near_names(task, known)}Tasks there: {', '.join(known)}."
            raise UserError(f"No run has the task {task!r}", where="--task", fix=fix)
    return list(dict.fromkeys(words))
