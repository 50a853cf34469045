"""`init`: definitions for files as they come, with what was assumed of them and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adaptershare_cli.commands.download import left_out
from adaptershare_cli.commands.output import opened_output
from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.data.drafting import Files, by_sheet, draft, group_files, sample_rows
from adaptershare_cli.data.encoding import content_hash
from adaptershare_cli.data.guessing import Guess, guess, likely_group, split_column
from adaptershare_cli.data.readers import READERS
from adaptershare_cli.data.reading import AlikeLabels, ReadTask, read_task
from adaptershare_cli.data.sniffing import Sniffed, sniff
from adaptershare_cli.data.sources import Source
from adaptershare_cli.data.tasks import builtin_folder
from adaptershare_cli.data.whole_columns import all_values
from adaptershare_cli.data.workbooks import filled_sheets, is_workbook
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import Kind
from adaptershare_cli.kinds.rows.texts import told
from adaptershare_cli.screen import Screen

Confirm = Callable[[str], bool] | None  # asks the user; None where nobody can be asked
Choose = Callable[[str, Sequence[str]], str] | None  # lets the user choose one of several; None likewise


def init_tasks(
    paths: Sequence[Path],
    task_dir: Path | None,
    said: Mapping[str, str],
    screen: Screen,
    confirm: Confirm,
    yes: bool = False,
    overwrite: bool = False,
    choose: Choose = None,
) -> list[dict[str, Any]]:
    """Write a definition a task into `task_dir` (by default beside its files), and say what was assumed.

    `said` are roles, kind, name and sheet that the user gave. Returns what --json says of each task. Raises UserError,
    before anything is written, for files that cannot be read, for definitions that are there already, and for what is
    not certain where `confirm` cannot ask or is answered with no, unless `yes`.
    """
    tasks = group_files(paths, said.get("name", ""))
    drafts = []
    for files in tasks:
        files, sheet = _sheet(files, said.get("sheet", ""), choose)
        table = sniff(files.splits["train"].paths[0], files.splits["train"].sheet or sheet)
        found = _beyond(files, table, said)
        folder = (task_dir or files.folder).resolve()
        root = folder if files.folder.is_relative_to(folder) else files.folder
        file = folder / f"{files.name}.yaml"
        if file.exists() and not overwrite:
            raise UserError(f"the task `{files.name}` has a definition", str(file), "Give --name or --overwrite.")
        _tell(screen, files, table, found)
        drafts.append((files, table, found, root, file))
    _settle({files.name: found.unsure for files, _, found, *_ in drafts}, confirm, yes)
    done = []
    for files, table, found, root, file in drafts:
        _write(file, draft(files, table, found, root, builtin_folder() / "schema.json"))
        screen.line(f"made  {file}")
        try:
            done.append(_read(screen, file, root))
        except AlikeLabels:
            screen.line(f"{files.name}: labels are written in several ways, so the definition says `normalise: true`")
            _write(file, draft(files, table, replace(found, normalise=True), root, builtin_folder() / "schema.json"))
            done.append(_read(screen, file, root))
    folders = {str(file.parent) for *_, file in drafts}
    outside = {str(root) for *_, root, file in drafts if root != file.parent}
    names = ",".join(files.name for files, *_ in drafts)
    where = f" --task-dir {','.join(sorted(folders))}" + "".join(f" --from {root}" for root in sorted(outside))
    screen.line(f"To train on {'them' if len(drafts) > 1 else 'it'}: adaptershare train-share --tasks {names}{where}")
    return done


def _beyond(files: Files, table: Sniffed, said: Mapping[str, str]) -> Guess:
    """What columns are for, those of splits, groups and weights among them: the first where no file says it."""
    paths = files.splits["train"].paths
    name: str = ""
    values: dict[str, list[str]] = {}
    if len(files.splits) == 1 and "split_column" in READERS[table.reader].options:
        name, values = split_column(table, lambda column: all_values(table, column, paths))
    known = table.without(name) if name and name not in said.values() else table
    found = guess(known, said)
    told = list(found.told)
    if name:
        parts = "; ".join(f"{split}: {', '.join(of)}" for split, of in values.items())
        told.append(f"`{name}` says of which split a row is ({parts})")
    group = said.get("group", "")
    if not group and (likely := likely_group(known)):
        told.append(f"rows with one `{likely}` stay on one side of every cut with --group {likely}")
    return replace(
        found, split_column=name, split_values=values, group=group, weight=said.get("weight", ""), told=tuple(told)
    )


def _sheet(files: Files, said: str, choose: Choose) -> tuple[Files, str]:
    """The task with a sheet for each split where sheets are called so; else which sheet is meant, "" for the only one.

    Raises UserError where several hold something, and nobody says which is meant.
    """
    path = files.splits["train"].paths[0]
    if said or not path.is_file() or not is_workbook(path):
        return files, said
    sheets = filled_sheets(path)
    parted = by_sheet(files, sheets)
    if len(sheets) < 2 or parted is not files:
        return parted, ""
    what = f"the workbook has {len(sheets)} sheets that hold something: {', '.join(sheets)}"
    if choose is None:
        raise UserError(what, str(path), "Say with --sheet which one is meant.")
    return files, choose(f"{path.name}: {what}. Which one is meant?", sheets)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder cannot be made: {error.strerror}", str(file.parent), "Give --task-dir.") from error
    with opened_output(file) as stream:
        stream.write(text.encode())


def _tell(screen: Screen, files: Files, table: Sniffed, found: Guess) -> None:
    """What was assumed of a task, with its first rows."""
    from rich.table import Table
    from rich.text import Text

    where = ", ".join(f"{split} {place}" for split, place in files.splits.items())
    words = (("sheet", table.sheet), ("in", table.encoding), ("parted by", table.delimiter), ("decimal", found.decimal))
    layout = [table.reader, *(f"{word} {value}" for word, value in words if value)]
    bounds = f" from {found.range[0]:g} to {found.range[1]:g}" if found.range else ""
    screen.line(f"{files.name}: {found.kind}{bounds}; {where}; {', '.join(layout)}")
    shown = Table(title=Text(f"{files.name}: the first rows"))
    for role in ("text", "text_pair", "label"):
        if column := getattr(found, role):
            shown.add_column(Text(f"{role} = {column}"), overflow="fold")
    for row in sample_rows(table, found):
        shown.add_row(*(Text(_short(value)) for value in row.values()))
    screen.table(shown)
    for text in (*table.told, *found.told):
        screen.line(f"{files.name}: {text}")
    for doubt in found.unsure:
        screen.line(f"{files.name}: not certain: {doubt}")


def _short(value: Any) -> str:
    text = " ".join((" ".join(value) if isinstance(value, list) else str(value)).split())
    return text if len(text) <= 80 else text[:79] + "…"


def _settle(doubts: Mapping[str, Sequence[str]], confirm: Confirm, yes: bool) -> None:
    """Ask whether what is not certain may be taken."""
    if yes or not any(doubts.values()):
        return
    tasks = ", ".join(task for task, found in doubts.items() if found)
    if confirm is not None and confirm("Take it so?"):
        return
    fix = "--text, --text-pair, --label and --kind say what is meant; --yes takes what was assumed."
    raise UserError(f"Not everything is certain of {tasks}, so nothing was written", "see the lines above", fix)


def _read(screen: Screen, file: Path, root: Path) -> dict[str, Any]:
    """Read the whole task by its new definition, and say what it holds."""
    definition = parse_definition(file)
    try:
        read = read_task(definition, Source("folder", root))
    except AlikeLabels:
        raise
    except UserError as error:
        what = f"{error.what} (the definition is written)"
        raise UserError(what, error.where, error.fix) from error
    kind, train = KINDS[definition.kind], read.splits["train"]
    rows = ", ".join(f"{name} {table.num_rows}" for name, table in read.splits.items())
    words = [sum(len(text.split()) for text in texts if text) for texts in kind.texts(train)]
    copies = Counter(content_hash(*texts) for texts in kind.texts(train))
    repeated = sum(count for count in copies.values() if count > 1)
    screen.line(
        f"{definition.name}: {rows} rows; {sum(words) / len(words):.0f} words a row, {max(words)} at most; "
        f"{repeated} train rows have a text that stands there more than once"
    )
    labels = _label_counts(kind, read) if kind.labelled else {}
    if labels:
        screen.line(f"{definition.name}: {told([f'{label} {count}' for label, count in labels.items()], 12)}")
    for text in read.suspicious:
        screen.line(f"{definition.name}: {text}")
    if beside := left_out(read.left_out):
        screen.line(f"{definition.name}: {beside}")
    counts = {name: table.num_rows for name, table in read.splits.items()}
    return {"task": definition.name, "path": str(file), "rows": counts, "labels": labels}


def _label_counts(kind: Kind, read: ReadTask) -> dict[str, int]:
    """How many train rows, or words, have each label, the commonest first."""
    return dict(Counter(kind.single_labels(read.splits["train"]).to_pylist()).most_common())
