"""A workspace as an object: its runs, and the commands that make more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.errors import UserError
from adaptershare_cli.face.calling import run_command
from adaptershare_cli.face.own_data import own_tasks
from adaptershare_cli.face.relating import correlate
from adaptershare_cli.face.run import Run
from adaptershare_cli.face.views import Correlation
from adaptershare_cli.scratch import use_scratch
from adaptershare_cli.store import workspace as store
from adaptershare_cli.store.artefact import META, workspace_of

if TYPE_CHECKING:
    import pandas as pd

Tasks = str | Sequence[str] | Mapping[str, Any] | None
WORKSPACE, VARIABLE = "workspace", "ADAPTERSHARE_WORKSPACE"


class Workspace:
    """A folder of artefacts, by default as the command line takes it (`ADAPTERSHARE_WORKSPACE`, or `workspace`).

    It is made when something is first written. What its methods do is shown as the command line shows it, unless it is
    `quiet`.
    """

    def __init__(self, path: str | Path | None = None, quiet: bool = False) -> None:
        self.path = Path(path or os.environ.get(VARIABLE) or WORKSPACE).expanduser()
        self._quiet = quiet
        self._reading()  # raises UserError where it cannot be a workspace

    def _reading(self) -> store.Workspace:
        use_scratch(self.path)
        return store.Workspace(self.path, writing=False)

    def _shown(self) -> Terminal:
        return Terminal(quiet=self._quiet)

    # ---- what is there ----

    def runs(
        self, words: str | Sequence[str] = (), method: str | None = None, tasks: str | Sequence[str] | None = None
    ) -> list[Run]:
        """Its runs, newest first, as `adaptershare ls` lists them; one that cannot be read is left out, and told.

        `words` are names, methods, key prefixes, globs or paths; `method` and `tasks` names or globs.
        """
        from adaptershare_cli.commands.ls import list_runs

        names = words.split(",") if isinstance(words, str) else words
        wanted = tasks if isinstance(tasks, str | None) else ",".join(tasks)
        workspace, screen, found = self._reading(), self._shown(), []
        for listed in list_runs(workspace, [name.strip() for name in names], method, wanted):
            if listed.record is None:
                screen.line(f"left out: {listed.run.label} cannot be read: {listed.fault}")
            else:
                found.append(Run(listed.run, workspace, screen))
        return found

    def run(self, name: str | Path | None = None) -> Run:
        """The one run of that name, method, key prefix, glob or path, every byte of it verified; by default the newest.

        Raises UserError unless it names one run.
        """
        from adaptershare_cli.runs.choose import one_run

        workspace, screen = self._reading(), self._shown()
        artefact = one_run(workspace, None if name is None else str(Path(name).expanduser()), screen)
        return Run(artefact, workspace, screen)

    def compare(self, a: str | Run, b: str | Run, task: str | None = None) -> pd.DataFrame:
        """Two runs, or two sets of runs, row by row, as `adaptershare compare`: a row a task, split and metric."""
        import pandas as pd

        from adaptershare_cli.commands.compare import compare_runs

        words = tuple(str(side.path) if isinstance(side, Run) else side for side in (a, b))
        told = compare_runs(self._reading(), (words[0], words[1]), task, 0, None, self._shown())
        return pd.DataFrame(told["rows"])

    def status(self, verify: bool = False) -> pd.DataFrame:
        """Every artefact and checkpoint with its state, and why it is so."""
        import pandas as pd

        from adaptershare_cli.commands.status import Entry, workspace_status

        entries = workspace_status(self._reading(), verify)
        return pd.DataFrame([vars(entry) for entry in entries], columns=list(Entry.__dataclass_fields__))

    # ---- what makes more ----

    def train_share(self, tasks: Tasks = None, **options: Any) -> list[Run]:
        """Train tasks together, as `adaptershare train-share`; options are its options with `_` for `-`.

        `tasks`: names, suites and globs, or a dict of names and their rows (a frame, a `datasets.Dataset` or
        `DatasetDict`, a dict of splits, or `Data`; None for a task that is known by its name). Returns a run a seed,
        those that were there already among them. Raises UserError for what the command refuses, RunError where a run
        failed, Interrupted where it was stopped.
        """
        return self._trained("train-share", tasks, options)

    def train_single(self, tasks: Tasks = None, **options: Any) -> list[Run]:
        """Train each task alone, as `adaptershare train-single`; see `train_share`. Returns a run a task and seed."""
        return self._trained("train-single", tasks, options)

    def _trained(self, command: str, tasks: Tasks, options: Mapping[str, Any]) -> list[Run]:
        screen, keywords = self._named(tasks, options)
        made = run_command(command, self.path, screen, keywords)
        return [Run(artefact, self._reading(), screen) for artefact in made]

    def prepro(self, tasks: Tasks = None, **options: Any) -> dict[str, Path]:
        """Prepare tasks without training, as `adaptershare prepro`. Returns the folder of each."""
        made = run_command("prepro", self.path, *self._named(tasks, options))
        return {artefact.name: artefact.path for artefact in made}

    def correlate(self, run: str | Run | None = None, **options: Any) -> list[Correlation]:
        """How tasks relate, as `adaptershare correlate`: a value a measure. Options such as `measure` are its own.

        Scores, selections and verdicts, which the command makes beside, are left in the workspace.
        """
        return correlate(self.path, self._shown(), {"run": run.label if isinstance(run, Run) else run, **options})

    def report(self, run: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Write the report, as `adaptershare report`, and return its results: a row a run, task, split and metric."""
        (artefact,) = run_command("report", self.path, self._shown(), {"run": run})
        return artefact.table("results.parquet").to_pandas()

    def _named(self, tasks: Tasks, options: Mapping[str, Any]) -> tuple[Terminal, dict[str, Any]]:
        """The screen, and the keywords of a command for tasks, of which some may be rows."""
        screen, keywords = self._shown(), dict(options)
        if isinstance(tasks, Mapping):
            names, folders = own_tasks(store.Workspace(self.path), tasks, screen)
            if not names:
                raise UserError("No tasks are named", "tasks", "Give at least one name with its rows.")
            keywords["tasks"] = names
            known = keywords.get("task_dir")
            given = [known] if isinstance(known, str | Path) else [*(known or ())]
            keywords["task_dir"] = [*given, *folders] or None
        else:
            keywords["tasks"] = tasks
        return screen, keywords

    def __repr__(self) -> str:
        return f"<Workspace {self.path}>"

    def _repr_html_(self) -> str:
        import pandas as pd

        from adaptershare_cli.commands.ls import list_runs
        from adaptershare_cli.face.views import frame_html

        rows = [found.to_json() for found in list_runs(self._reading())]
        columns = ["name", "method", "seed", "tasks", "score", "made"]
        table = pd.DataFrame(rows, columns=columns)
        table["tasks"] = [", ".join(found or ()) for found in table["tasks"]]
        return frame_html(table, index=False)


def load_run(name: str | Path | None = None, workspace: str | Path | Workspace | None = None) -> Run:
    """A run by name, method, key prefix, glob or path; by default the newest. A path may lead out of the workspace.

    `workspace`: by default that in which the run's folder lies, or `workspace`. Raises UserError unless it is one run.
    """
    folder = Path(name).expanduser() if name is not None else None
    if workspace is None and folder is not None and (folder / META).is_file():
        workspace = workspace_of(folder.resolve())
    there = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    return there.run(name)


def train_share(tasks: Tasks = None, workspace: str | Path | Workspace | None = None, **options: Any) -> list[Run]:
    """`Workspace.train_share` of a workspace."""
    there = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    return there.train_share(tasks, **options)
