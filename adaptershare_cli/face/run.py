"""A run as an object: what it is, what it was scored with, its plan, and its answers to new rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.errors import UserError
from adaptershare_cli.face.relating import correlate
from adaptershare_cli.face.rows import in_columns
from adaptershare_cli.face.views import Correlation, Plan, frame_html
from adaptershare_cli.runs.results import run_results
from adaptershare_cli.settings import PredictSettings, RuntimeSettings, check_settings
from adaptershare_cli.store import workspace as store
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from adaptershare_cli.data.tasks import TaskRegistry
    from adaptershare_cli.runs.served import ServedRun
    from adaptershare_cli.serving.predictor import Predictor

ROWS = "the rows"  # what messages call them


class Run:
    """A finished training. Its encoder, adapters and heads are loaded when the first rows are predicted, and kept."""

    def __init__(self, artefact: Artefact, workspace: store.Workspace, screen: Terminal) -> None:
        self._artefact, self._workspace, self._screen = artefact, workspace, screen
        self._record = RunRecord.of(artefact)
        self._predictors: dict[tuple[Any, ...], tuple[ServedRun, Predictor]] = {}

    # ---- what it is ----

    @property
    def name(self) -> str:
        """Its name, `METHOD-KEY` or of a task alone `TASK-KEY`."""
        return self._artefact.path.name

    @property
    def label(self) -> str:
        """`stage/name`, as messages call it."""
        return self._artefact.label

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._artefact.path

    @property
    def method(self) -> str:
        """The method that trained it; `single` of a task alone."""
        return self._record.method

    @property
    def seed(self) -> int:
        """Its random seed."""
        return self._record.seed

    @property
    def tasks(self) -> tuple[str, ...]:
        """Its tasks, in their order."""
        return tuple(self._record.tasks)

    @property
    def settings(self) -> dict[str, Any]:
        """The method's settings and those of training that differ from their defaults."""
        return {**self._record.settings, **self._record.training}

    @property
    def plan(self) -> Plan | None:
        """The sharing plan at its end; None of a method without one."""
        plan = self._record.plan
        if plan is None:
            return None
        return Plan(tuple(tuple(tuple(group) for group in layer) for layer in plan["layers"]))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The final scores on scored splits: task, split, metric, value (NaN: undefined), rows, main."""
        import pandas as pd

        columns = ["task", "split", "metric", "value", "rows", "main"]
        rows = [{name: row[name] for name in columns} for row in run_results(self._artefact)]
        return pd.DataFrame(rows, columns=columns).astype({"value": float})

    def table(self, name: str) -> pd.DataFrame:
        """One of the tables that it published, such as `metrics`, `predictions`, `sharing`, `interference`, `steps`.

        Raises UserError for one that it has not.
        """
        file = f"{name}.parquet"
        if file not in self._artefact.meta["files"]:
            known = sorted(found.removesuffix(".parquet") for found in self._artefact.meta["files"] if "/" not in found)
            raise UserError(f"{self.name} has no table {name!r}", str(self.path), f"Tables: {', '.join(known)}.")
        return self._artefact.table(file).to_pandas()

    # ---- what it says of rows ----

    def predict(
        self,
        task: str | Sequence[str],
        rows: Any,
        *,
        columns: Mapping[str, str] | None = None,
        top_k: int | None = None,
        max_rejected: int = 0,
        device: str = "auto",
        threads: int | None = None,
        per_device_eval_batch_size: int | None = None,
        model: str | Path | None = None,
        task_dir: str | Path | None = None,
    ) -> pd.DataFrame:
        """The rows as a frame, with what a task (or several, or `all`) says of each in columns `TASK.…`.

        `rows` are texts, pairs (tuples) of texts, lists of words where the task labels words, dicts, a frame, or a
        `datasets.Dataset`. `columns` names which are read for what, as --column does: {"text": "body"}. A frame keeps
        its columns and its index; rows that cannot be used, at most `max_rejected`, are left out. The other options are
        those of `adaptershare predict`. Raises UserError for rows or options that cannot be used.
        """
        from adaptershare_cli.commands.predict import Summary, answers, questions_of
        from adaptershare_cli.serving.columns import Named
        from adaptershare_cli.serving.windows import Rejected, count_good

        settings = PredictSettings(
            top_k=top_k,
            max_rejected=max_rejected,
            device=device,  # type: ignore[arg-type]
            threads=threads,
            per_device_eval_batch_size=per_device_eval_batch_size,
        )
        check_settings(settings)
        names = task if isinstance(task, str) else ",".join(task)
        served, load = self._served(names, str(model or ""), settings)
        given = in_columns(rows, served.infos)
        named = Named.of_pairs((columns or {}).items(), served.tasks)
        questions, added = questions_of(served, given.columns, named, ROWS, settings, self._definitions(task_dir))
        summary = Summary(rejected=Rejected(max_rejected))
        count_good(given.rows(), questions, max_rejected)  # before anything is loaded
        found = []
        screen = self._screen if self._screen.has_bar else Terminal(quiet=True)  # no lines for a few rows
        with screen.counting("predict", len(given)) as done:
            for window in answers(load(), questions, given.rows(), top_k, done, summary):
                found += window
        return given.frame(found, added)

    def _served(self, names: str, model: str, settings: PredictSettings) -> tuple[ServedRun, Callable[[], Predictor]]:
        """The tasks as they can be loaded, and how to load them; once they are, they stay."""
        from adaptershare_cli.runs.runtime import resolve_runtime
        from adaptershare_cli.runs.served import served_run

        if settings.device not in ("auto", "cpu", "cuda"):
            raise UserError(f"device takes auto, cpu or cuda, got {settings.device!r}")
        runtime = resolve_runtime(RuntimeSettings(device=settings.device, threads=settings.threads, precision="fp32"))
        key = (names, model, runtime, settings.per_device_eval_batch_size)
        if key in self._predictors:
            served, predictor = self._predictors[key]
            return served, lambda: predictor
        served = served_run(self._workspace, self._artefact, names, model or None, Terminal(quiet=True))

        def load() -> Predictor:
            predictor = served.load_on(runtime, settings.per_device_eval_batch_size)
            self._predictors[key] = served, predictor
            return predictor

        return served, load

    def _definitions(self, task_dir: str | Path | None) -> TaskRegistry:
        from adaptershare_cli.data.tasks import load_tasks

        return load_tasks((Path(task_dir),) if task_dir is not None else ())

    # ---- what else is known of it ----

    def correlation(self, measure: str = "gradient", **options: Any) -> Correlation:
        """How its tasks relate by a measure, computed if it is not there yet; options are those of `correlate`.

        Raises UserError for what `correlate` refuses.
        """
        words = {"run": self.label, "measure": measure, **options}
        found = correlate(self._workspace.root, self._screen, words)
        if len(found) != 1:
            raise UserError(f"{measure!r} is not one measure", fix="Workspace.correlate computes several.")
        return found[0]

    def export(self, to: str | Path, task: str | None = None, model: str | Path | None = None) -> dict[str, Path]:
        """Write tasks as folders that load without this program; as `adaptershare export`. Returns them by task."""
        from adaptershare_cli.commands.export import export_run

        chosen = str(model) if model is not None else None
        return export_run(self._workspace, str(self.path), task, chosen, Path(to), self._screen)

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.method}, seed {self.seed}, {', '.join(self.tasks)}>"

    def _repr_html_(self) -> str:
        plan = "" if self.plan is None else self.plan._repr_html_()
        told = f"{self.method}, seed {self.seed}; {', '.join(self.tasks)}"
        scores = frame_html(self.metrics.round(4), index=False)
        return f"<p><b>{escape(self.name)}</b> {escape(told)}</p>{scores}{plan}"
