"""`predict`: rows of a file, or of standard input, with what a run's tasks say of them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.commands.output import Stdout, opened_output
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.readers.rows import RowFault
from adaptershare_cli.data.row_writers import row_writer
from adaptershare_cli.data.source_spec import SourceSpec
from adaptershare_cli.data.tasks import TaskRegistry, load_tasks
from adaptershare_cli.data.whole_rows import Format, WholeRow, WholeRows, format_of, read_whole
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.runs.choose import one_run
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.runs.served import ServedRun, served_run
from adaptershare_cli.screen import Screen
from adaptershare_cli.serving.columns import PAIR, Named, Questions, readings
from adaptershare_cli.serving.windows import (
    WINDOW_BATCHES,
    Rejected,
    added_fields,
    answered,
    count_good,
    good_rows,
    windows,
)
from adaptershare_cli.settings import PredictSettings, RuntimeSettings, check_settings
from adaptershare_cli.store.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from adaptershare_cli.serving.predictor import Outputs, Predictor

STDIN = "standard input"
TOLD = 20  # rejected rows that are told one by one


@dataclass(frozen=True)
class Request:
    """Where rows come from and go to (None: standard input, standard output), in which formats, by which columns."""

    source: Path | None
    target: Path | None
    form: Format
    target_form: Format
    columns: str | None = None

    @classmethod
    def of(
        cls,
        source: Path | None,
        target: Path | None,
        form: Format | None,
        target_form: Format | None,
        columns: str | None,
    ) -> Request:
        """With formats as files' names tell them; texts come from standard input, and texts' answers go out as JSONL.

        Raises UserError for a file whose name does not tell, and for what cannot be written to a pipe.
        """
        found: Format = form or ("text" if source is None else format_of(source.name, "--format"))
        usual: Format = "jsonl" if found == "text" else found
        if target is not None and target_form is None:
            usual = format_of(target.name, "--output-format")
        chosen = target_form or usual
        if chosen == "text":
            raise UserError("Predictions have several columns", "--output", "Write CSV, TSV, JSONL or Parquet.")
        if chosen == "parquet" and target is None:
            raise UserError("Parquet cannot be printed", "--output", "Name a file with --output.")
        return cls(source, target, found, chosen, columns)

    @property
    def name(self) -> str:
        """What messages call the source."""
        return STDIN if self.source is None else str(self.source)

    def rows(self) -> WholeRows:
        """The rows, from the first one on; standard input can be read only once."""
        if self.source is None:
            stream = open(sys.stdin.fileno(), "rb", closefd=False) if _has_descriptor() else sys.stdin.buffer
            return read_whole(DataFile(STDIN, Path(STDIN), stream), self.form)
        return read_whole(DataFile(self.name, self.source), self.form)

    @property
    def readable_twice(self) -> bool:
        """Whether the rows can be looked at before they are answered."""
        return self.source is not None


def _has_descriptor() -> bool:
    try:
        return sys.stdin.fileno() >= 0
    except (OSError, ValueError):
        return False


@dataclass
class Summary:
    """What came of a call."""

    rows: int = 0
    rejected: Rejected = field(default_factory=lambda: Rejected(0))
    cut: Counter[str] = field(default_factory=Counter)  # rows of which a task saw the beginning only
    seconds: float = 0.0
    layers: tuple[int, int] = (0, 0)  # that a text runs through, and would, task by task
    complete: bool = True

    def see(self, outputs: Outputs) -> None:
        """Count what a task did not see whole."""
        self.cut[outputs.info.name] += len(outputs.cut)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rows": self.rows,
            "rejected": [vars(fault) for fault in self.rejected.first],
            "cut": dict(self.cut),
            "seconds": round(self.seconds, 3),
            "layers": dict(zip(("run", "separately"), self.layers, strict=True)),
        }


def predict_rows(
    workspace: Workspace,
    word: str | None,
    tasks: str | None,
    model: str | None,
    request: Request,
    settings: PredictSettings,
    task_dirs: Sequence[Path],
    screen: Screen,
    out: Stdout,
) -> dict[str, Any]:
    """Answer the rows of a request by the run that `word` names; returns what programs are told.

    `tasks` and `model` are the values of --task and --model.
    """
    check_settings(settings)
    run = one_run(workspace, word, screen)
    served = served_run(workspace, run, tasks, model, screen)
    summary = predict(served, request, settings, load_tasks(task_dirs), screen, out)
    tell(summary, served, screen)
    if request.target is not None:
        screen.path(str(request.target))
    of_run = {"run": run.label, "tasks": list(served.tasks), "output": str(request.target or "")}
    return of_run | summary.to_json()


def predict(
    served: ServedRun, request: Request, settings: PredictSettings, registry: TaskRegistry, screen: Screen, out: Stdout
) -> Summary:
    """Answer all rows of the request. What can be found wrong with it is found before the encoder is loaded."""
    if request.source is None and sys.stdin is not None and sys.stdin.isatty():
        screen.line("Reading rows from the keyboard, one a line; Ctrl-D ends them.")
    runtime = resolve_runtime(RuntimeSettings(device=settings.device, threads=settings.threads, precision="fp32"))
    rows = request.rows()
    named = Named.parse(request.columns, served.tasks)
    questions, added = questions_of(served, rows.columns, named, request.name, settings, registry)
    with opened_output(request.target, out) as stream:
        total = None
        if request.readable_twice:
            total = count_good(rows.rows, questions, settings.max_rejected)
            rows = request.rows()
        predictor = served.load_on(runtime, settings.per_device_eval_batch_size)
        writer = row_writer(request.target_form, stream, rows.columns, added, rows.schema)
        summary = Summary(rejected=Rejected(settings.max_rejected), layers=_layers(predictor, questions))
        started = time.perf_counter()
        with screen.counting("predict", total) as done:
            for window in answers(predictor, questions, rows.rows, settings.top_k, done, summary):
                writer.write(window)
                if request.target is None and out.is_lost():
                    summary.complete = False
                    break
        writer.close()
        summary.seconds = time.perf_counter() - started
        if not summary.rows:
            raise UserError("No row can be used", summary.rejected.first[0].sentence())
    return summary


def questions_of(
    served: ServedRun,
    present: Sequence[str],
    named: Named,
    name: str,
    settings: PredictSettings,
    registry: TaskRegistry,
) -> tuple[Questions, dict[str, pa.DataType]]:
    """What the tasks read of rows that have the columns `present`, and the columns that answers add.

    `named` are the columns that the user named, `name` is what messages call the rows. Raises UserError where that
    does not fit.
    """
    if settings.top_k is not None and not any(KINDS[info.kind].ranks_labels for info in served.infos.values()):
        raise UserError("--top-k has no effect: no task of the call has labels for whole rows", fix="Leave it out.")
    definitions = {task: registry.tasks[task] for task in served.tasks if task in registry.tasks}
    pairs = {task: reads_pairs(served, task, definitions.get(task)) for task in served.tasks}
    defined = {task: _columns_of(definition) for task, definition in definitions.items()}
    asked = readings(served.infos, present, pairs, named, defined, name)
    return Questions(served.infos, asked, name), added_fields(served.infos, settings.top_k, present)


def answers(
    predictor: Predictor,
    questions: Questions,
    rows: Iterable[WholeRow | RowFault],
    top_k: int | None,
    done: Callable[[int], None],
    summary: Summary,
) -> Iterator[list[WholeRow]]:
    """The rows with what every task says of them, some at a time; `done` is told how many more, `summary` counts."""
    good = good_rows(rows, questions, summary.rejected)
    for window in windows(good, WINDOW_BATCHES * predictor.batch_size):
        progress = OfWindow(done, len(window), _passes(predictor, questions))
        found = answered(predictor, questions, window, top_k, progress.add, summary.see)
        progress.end()
        summary.rows += len(window)
        yield found


@dataclass
class OfWindow:
    """Rows of a window that are done, from the inputs that were run in so many `passes` over it."""

    done: Callable[[int], None]
    rows: int
    passes: int
    inputs: int = 0
    told: int = 0

    def add(self, inputs: int) -> None:
        """So many inputs were run; a long sentence makes several of one row."""
        self.inputs += inputs
        self._tell(min(self.inputs // self.passes, self.rows))

    def end(self) -> None:
        """All is done."""
        self._tell(self.rows)

    def _tell(self, rows: int) -> None:
        self.done(rows - self.told)
        self.told = rows


def _passes(predictor: Predictor, questions: Questions) -> int:
    """How often a window's rows are run: once for each set of tasks that read them alike."""
    return sum(len(predictor.branches(reading.tasks)) for reading in questions.readings)


def _layers(predictor: Predictor, questions: Questions) -> tuple[int, int]:
    """The layers that a text runs through for all tasks, and those that it would if they ran one by one."""
    trees = [tree for reading in questions.readings for tree in predictor.branches(reading.tasks)]
    depth = len(predictor.layers.layers)
    return sum(tree.layers for tree in trees), depth * sum(len(tree.tasks) for tree in trees)


def _sources_of(definition: TaskDefinition) -> list[SourceSpec]:
    return [source for source in (definition.hub, definition.files, definition.embedded) if source is not None]


def _columns_of(definition: TaskDefinition) -> list[dict[str, str]]:
    """The columns by role that each source of a task has names for."""
    return [
        {role: name for role, name in source.columns if isinstance(name, str)} for source in _sources_of(definition)
    ]


def reads_pairs(served: ServedRun, task: str, definition: TaskDefinition | None) -> bool | None:
    """Whether a task reads pairs of texts, as the run recorded, or else its definition says; None: it is not known."""
    recorded = served.inputs[task].pairs
    if recorded is not None or definition is None:
        return recorded
    found = [None if source.pair_if_present else source.column(PAIR) is not None for source in _sources_of(definition)]
    return found[0] if len(set(found)) == 1 else None


def tell(summary: Summary, served: ServedRun, screen: Screen) -> None:
    """What came of a call, in lines."""
    rate = summary.rows / max(summary.seconds, 1e-9)
    run, separately = summary.layers
    together = f"; a text runs through {run} layers instead of {separately}" if run < separately else ""
    several = f", {len(served.tasks)} tasks" if len(served.tasks) > 1 else ""
    screen.line(f"{summary.rows} rows{several} in {summary.seconds:.1f} s ({rate:.0f} a second){together}")
    for task, count in summary.cut.items():
        if count:
            longest = served.inputs[task].max_seq_length
            screen.line(f"{task}: of {count} rows the beginning was read, as the run reads {longest} tokens")
    for fault in summary.rejected.first[:TOLD]:
        screen.line(f"left out: {fault.sentence()}")
    if summary.rejected.count > TOLD:
        screen.line(f"left out: {summary.rejected.count - TOLD} more rows")
