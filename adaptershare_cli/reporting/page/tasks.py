"""A task's section: its rows, how it was answered, and the rows that tell most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adaptershare_cli.reporting.charts import Drawing, confusion_points
from adaptershare_cli.reporting.page.facts import AnswersFacts, RowFacts, TaskFacts
from adaptershare_cli.reporting.page.results import Entry, TableView

SHOWN_LABELS = 16  # of a confusion matrix; the others count together
OTHERS = "other labels"
CUT = 300  # characters of a text that are seen at once


@dataclass(frozen=True)
class TextView:
    """A text, and all of it where only its beginning is shown."""

    start: str
    whole: str = ""


@dataclass(frozen=True)
class RowView:
    """A row with its texts."""

    place: str
    texts: list[TextView]
    label: str
    said: list[str]


@dataclass(frozen=True)
class RowsView:
    """A list of rows as a table; `methods` are the columns of what was said."""

    title: str
    methods: list[str]
    rows: list[RowView]


@dataclass(frozen=True)
class ConfusionView:
    """Rows by label and prediction, a share of the label's rows each; or, where labels are numbers, a drawing."""

    method: str
    labels: list[str]
    cells: list[tuple[str, list[tuple[int, float]]]]
    drawing: Drawing | None = None


@dataclass(frozen=True)
class TaskView:
    """The section's content."""

    anchor: str
    facts: TaskFacts
    summary: str
    parts: TableView | None
    labels: TableView | None
    confusions: list[ConfusionView]
    rows: list[RowsView]


def task_view(task: TaskFacts, anchor: str) -> TaskView:
    """The task as the page shows it."""
    lists = [
        (f"{_first(task.fixed)} that {task.sharing} got right or nearer, and {task.private} did not", task.fixed),
        (f"{_first(task.broke)} that {task.private} got right or nearer, and {task.sharing} did not", task.broke),
        ("Hardest rows: most wrong, whatever the method", task.hardest),
    ]
    return TaskView(
        anchor=anchor,
        facts=task,
        summary=_summary(task),
        parts=_parts(task),
        labels=_labels(task),
        confusions=[view for answers in task.answers if (view := _confusion(task, answers)) is not None],
        rows=[_rows(title, rows) for title, rows in lists if rows],
    )


def _first(rows: Sequence[RowFacts]) -> str:
    return f"{len(rows)} row{'s' * (len(rows) != 1)}"


def _summary(task: TaskFacts) -> str:
    """What sharing did to its rows, as far as that can be counted."""
    if task.counted is None:
        return ""
    fixed, broke, rows = task.counted
    return (f"Of {rows:,} scored rows {task.sharing} has {fixed:.3g} better and {broke:.3g} worse than {task.private} "
            "(mean over the seeds).")  # fmt: skip


def _parts(task: TaskFacts) -> TableView | None:
    if not task.sizes:
        return None
    headers = [("rows of", ""), ("rows", ""), ("tokens", "least, median, most"), ("truncated", "")]
    rows = []
    for part, size in task.sizes.items():
        least, middle, most = task.lengths.get(part, (0, 0.0, 0))
        cut = task.truncated.get(part, 0)
        cells = [Entry(f"{size:,}", size), Entry(f"{least}, {middle:g}, {most}", middle), Entry(f"{cut:,}", cut)]
        rows.append((part, cells))
    return TableView(f"Rows of {task.name}", headers, rows, [])


def _labels(task: TaskFacts) -> TableView | None:
    if not task.labels:
        return None
    rows = [(label, [Entry(f"{count:,.6g}", count)]) for label, count in task.labels.items()]
    numbers = "" if "least" in task.labels else "rows"
    return TableView(f"Labels in train of {task.name}", [("label", ""), ("train", numbers)], rows, [])


def _confusion(task: TaskFacts, answers: AnswersFacts) -> ConfusionView | None:
    title = f"{task.name}, {answers.method}: predictions against labels"
    if answers.numbers:
        labels, predictions = zip(*answers.numbers, strict=True)
        return ConfusionView(answers.method, [], [], confusion_points(labels, predictions, title))
    if not answers.counts:
        return None
    of_label: Counter[str] = Counter()
    for (label, prediction), count in answers.counts.items():
        of_label[label] += count
        of_label[prediction] += 0
    common = [label for label, _ in of_label.most_common(SHOWN_LABELS)]
    places = {label: place for place, label in enumerate(task.order)}
    common.sort(key=lambda label: (places.get(label, len(places)), label))
    names = [*common, *([OTHERS] if len(of_label) > len(common) else [])]
    counts: Counter[tuple[str, str]] = Counter()
    for (label, prediction), count in answers.counts.items():
        counts[tuple(name if name in common else OTHERS for name in (label, prediction))] += count  # type: ignore[index]
    cells = []
    for label in names:
        total = sum(counts[label, other] for other in names) or 1
        cells.append((label, [(counts[label, other], round(counts[label, other] / total, 2)) for other in names]))
    return ConfusionView(answers.method, names, cells)


def _rows(title: str, rows: Sequence[RowFacts]) -> RowsView:
    methods = list(dict.fromkeys(name for row in rows for name in row.said))
    shown = [
        RowView(f"{row.split} {row.row}", _texts(row.texts), row.label, [row.said.get(name, "") for name in methods])
        for row in rows
    ]
    return RowsView(title, methods, shown)


def _texts(texts: tuple[str, ...] | None) -> list[TextView]:
    if texts is None:
        return [TextView("(its text is no longer in the workspace)")]
    return [TextView(text) if len(text) <= CUT else TextView(f"{text[:CUT]} …", text) for text in texts]
