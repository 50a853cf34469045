"""The Typer app: options become settings, one stage call, one summary. Torch is imported only inside a command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptershare_cli import __version__
from adaptershare_cli.cli.arguments import (
    LARGEST_SEED,
    Against,
    AsJson,
    Config,
    Force,
    FromFolder,
    Measures,
    Method,
    MethodName,
    Model,
    NoWait,
    Plot,
    Preset,
    RunsModel,
    RunSpec,
    Seed,
    Seeds,
    Selection,
    Target,
    TaskDir,
    Tasks,
    TruthSeeds,
    Workspace,
)
from adaptershare_cli.cli.console import Reporter
from adaptershare_cli.cli.options import Program, settings_from, with_options
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES, measure_settings, wanted_measures
from adaptershare_cli.methods import METHODS, method_settings, preset_values
from adaptershare_cli.settings import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    SelectionSettings,
    StartSettings,
    TrainingSettings,
    flag,
    joint_settings,
)

if TYPE_CHECKING:
    from adaptershare_cli.runs.context import StageContext
    from adaptershare_cli.store.workspace import Artefact

app = typer.Typer(
    name="adaptershare",
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find out which NLP tasks should share adapters of one frozen encoder, train accordingly, and see why.\n\n"
    "Missing inputs are made first, so one command is enough to begin:\n\n"
    "[bold]adaptershare train-share --tasks tiny[/bold]",
)


def _version(value: bool) -> None:
    if value:
        print(f"adaptershare {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _context(
    stage: str, values: dict[str, Any], given: dict[str, Any], reporter: Reporter, chosen: Iterable[str] = ()
) -> StageContext:
    """The stage context from a command's own options and the given settings, of which the user gave those `chosen`."""
    from adaptershare_cli.runs.context import StageContext
    from adaptershare_cli.store.workspace import Workspace as WorkspaceFolder

    return StageContext(
        workspace=WorkspaceFolder(values["workspace"], command=values["invocation"]),
        reporter=reporter,
        force=stage if values["force"] else "",
        no_wait=values["no_wait"],
        task_dirs=_folders(values.get("task_dir")),
        from_folder=values.get("from_folder"),
        model=values.get("model", "embedded"),
        download=settings_from(DownloadSettings, given),
        prepro=settings_from(PreproSettings, given),
        training=settings_from(TrainingSettings, given),
        runtime=settings_from(RuntimeSettings, given),
        chosen=frozenset(chosen),
    )


def _folders(task_dir: str | None) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in (task_dir or "").split(",") if part.strip())


def _finish(reporter: Reporter, command: str, artefacts: list[Artefact]) -> None:
    """The summary: where things are, and as JSON what programs need."""
    reporter.finish(
        {
            "command": command,
            "artefacts": [{"name": a.label, "path": str(a.path), "key": a.key, "info": a.info} for a in artefacts],
        }
    )
    for artefact in artefacts[-8:]:
        reporter.path(str(artefact.path))


def _need_tasks(tasks: str) -> str:
    """--tasks may come from --config, so its absence is noticed only here."""
    if not tasks.strip():
        raise UserError(
            "No tasks are named", where="--tasks", fix="For example --tasks tiny, or --tasks mnli,cola,rte."
        )
    return tasks


def _seed_list(seed: int, seeds: str | None) -> list[int]:
    if seeds is None:
        return [seed]
    try:
        numbers = list(dict.fromkeys(int(part) for part in seeds.split(",")))
    except ValueError as error:
        raise UserError(f"--seeds takes whole numbers separated by commas, got {seeds!r}") from error
    if any(not 0 <= number <= LARGEST_SEED for number in numbers):
        raise UserError(f"--seeds must lie between 0 and {LARGEST_SEED}, got {seeds!r}")
    return numbers


def _refuse_data_options(values: dict[str, Any], where: str = "") -> None:
    """Refuse options beside --selection that say which rows to train on."""
    of_data = {item.name for cls in (DownloadSettings, PreproSettings) for item in fields(cls)}
    for name in values:
        if name in of_data or (name in ("tasks", "from", "task_dir") and values[name]):
            raise UserError(
                f"{flag(name)} has no effect beside --selection",
                where=where,
                fix="Leave it out: the selection says which rows to train on.",
            )


@app.command()
@with_options(DownloadSettings)
def download(
    given: dict[str, Any],
    invocation: str,
    tasks: Tasks = "",
    workspace: Workspace = Path("workspace"),
    task_dir: TaskDir = None,
    from_folder: FromFolder = None,
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Fetch tasks' rows from the hub, a folder or the embedded data, check them, write Parquet.

    Example: [bold]adaptershare download --tasks mnli,cola,rte --from ~/data[/bold]
    """
    reporter = Reporter(as_json)
    context = _context("download", locals(), given, reporter, given)
    from adaptershare_cli.commands.download import download_task

    _finish(reporter, "download", [download_task(context, d) for d in context.tasks(_need_tasks(tasks))])


@app.command()
@with_options(PreproSettings, DownloadSettings)
def prepro(
    given: dict[str, Any],
    invocation: str,
    tasks: Tasks = "",
    workspace: Workspace = Path("workspace"),
    task_dir: TaskDir = None,
    from_folder: FromFolder = None,
    model: Model = "embedded",
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Tokenise tasks, cut held-out and select rows from train, drop rows that would leak.

    Example: [bold]adaptershare prepro --tasks glue --from ~/data --max-train-examples 2000[/bold]
    """
    reporter = Reporter(as_json)
    context = _context("prepro", locals(), given, reporter, given)
    from adaptershare_cli.commands.prepro import prepare

    _finish(reporter, "prepro", [prepare(context, d) for d in context.tasks(_need_tasks(tasks))])


@app.command("train-single")
@with_options(StartSettings, TrainingSettings, RuntimeSettings, PreproSettings, DownloadSettings)
def train_single(
    given: dict[str, Any],
    invocation: str,
    tasks: Tasks = "",
    workspace: Workspace = Path("workspace"),
    task_dir: TaskDir = None,
    from_folder: FromFolder = None,
    model: Model = "embedded",
    seed: Seed = 0,
    seeds: Seeds = None,
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train an adapter and a head for each task alone.

    Example: [bold]adaptershare train-single --tasks mrpc,rte --seeds 0,1,2[/bold]
    """
    reporter = Reporter(as_json)
    context = _context("train-single", locals(), given, reporter, given)
    from adaptershare_cli.commands.train_single import train_single as run

    start = settings_from(StartSettings, given)
    runs = run(context, context.tasks(_need_tasks(tasks)), _seed_list(seed, seeds), start)
    _finish(reporter, "train-single", runs)


@app.command("train-share")
@with_options(
    ("Method", [spec.settings for spec in METHODS.values()]),
    TrainingSettings,
    RuntimeSettings,
    PreproSettings,
    DownloadSettings,
)
def train_share(
    given: dict[str, Any],
    invocation: str,
    tasks: Tasks = "",
    method: Method = MethodName("adaptershare"),  # noqa: B008
    preset: Preset = None,
    selection: Selection = None,
    target: Target = None,
    workspace: Workspace = Path("workspace"),
    task_dir: TaskDir = None,
    from_folder: FromFolder = None,
    model: Model = "embedded",
    seed: Seed = 0,
    seeds: Seeds = None,
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train several tasks together, by AdapterShare or a method that it is compared with.

    Example: [bold]adaptershare train-share --tasks mnli,cola,rte --from ~/data[/bold]

    Train what was selected: [bold]adaptershare train-share --selection trial --target mrpc --method shared[/bold]
    """
    reporter = Reporter(as_json)
    settings = joint_settings([spec.settings for spec in METHODS.values()])
    options = {name: value for name, value in given.items() if name in settings}
    checked = method_settings(method, options)  # a wrong option is refused before torch is imported
    if target is not None and selection is None:
        raise UserError("--target belongs to --selection", fix="Name the selection, or leave it out.")
    own, chosen_options = checked.training_defaults, frozenset(given)
    context = _context("train-share", locals(), {**own, **given}, reporter, chosen_options)
    if selection is None:
        chosen: Any = context.tasks(_need_tasks(tasks))
        count = len(chosen)
    else:
        _refuse_data_options({"tasks": tasks, "from": from_folder, "task_dir": task_dir, **given})
        from adaptershare_cli.studies.selected import find_selection

        chosen = find_selection(context, selection, target)
        count = len(chosen.tasks)
    if preset:
        given = preset_values(preset, count, given)
        if selection is not None:
            _refuse_data_options(given, where=f"--preset {preset}")
        options = {name: value for name, value in given.items() if name in METHODS[method].options} | options
        context = _context("train-share", locals(), {**own, **given}, reporter, chosen_options)
    from adaptershare_cli.commands.train_share import train_share as run

    runs = run(context, chosen, method, options, _seed_list(seed, seeds))
    _finish(reporter, "train-share", runs)


@app.command()
@with_options(
    ("Measure", [spec.settings for spec in MEASURES.values()]),
    ("Selection", [SelectionSettings]),
    ("Runtime (what is not given is as in the runs)", [RuntimeSettings]),
)
def correlate(
    given: dict[str, Any],
    invocation: str,
    run_spec: RunSpec = None,
    measure: Measures = "gradient,gradient-directed,plan",
    against: Against = None,
    seeds: TruthSeeds = None,
    model: RunsModel = None,
    plot: Plot = False,
    workspace: Workspace = Path("workspace"),
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Score how tasks relate, from a run (the newest train-share run, unless --run names others) and its data.

    Runs that differ in the seed alone count together. Trainings that a measure needs are made as the run was.

    Example: [bold]adaptershare correlate --measure gradient,gradts,text --plot[/bold]

    Judge measures: [bold]adaptershare correlate --measure gradient,gradts,text --against transfer[/bold]

    Select tasks: [bold]adaptershare correlate --measure gradts --select trial --target mrpc[/bold]
    """
    reporter = Reporter(as_json)
    runtime = {item.name: given.pop(item.name) for item in fields(RuntimeSettings) if item.name in given}
    selection = settings_from(SelectionSettings, given)
    given = {name: value for name, value in given.items() if name not in {item.name for item in fields(selection)}}
    names = wanted_measures(measure, against, selection)
    if against is not None and "popularity" in names:
        given["against"] = against
    measure_settings(names, given, selection)  # a wrong option is refused before torch is imported
    values = {"workspace": workspace, "force": force, "no_wait": no_wait, "invocation": invocation}
    context = _context("correlate", values, runtime, reporter)
    from adaptershare_cli.commands.correlate import correlate_runs

    chosen_seeds = _seed_list(0, seeds) if seeds is not None else None
    artefacts = correlate_runs(context, run_spec, names, given, plot, chosen_seeds, model, runtime, against, selection)
    _finish(reporter, "correlate", artefacts)


@app.command()
@with_options()
def report(
    given: dict[str, Any],
    invocation: str,
    run_spec: RunSpec = None,
    workspace: Workspace = Path("workspace"),
    force: Force = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Compare all runs (or those that --run names): methods x tasks, as a table, Markdown, HTML and Parquet.

    Example: [bold]adaptershare report[/bold]
    """
    reporter = Reporter(as_json)
    context = _context("report", locals(), given, reporter)
    from adaptershare_cli.commands.report import make_report

    _finish(reporter, "report", [make_report(context, run_spec)])


@app.command()
@with_options()
def status(
    given: dict[str, Any],
    invocation: str,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte, and the tasks' source files.")] = False,
    task_dir: TaskDir = None,
    workspace: Workspace = Path("workspace"),
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List every artefact and checkpoint: whole, stale, partial or damaged, and why. Exit code 1 if one is damaged.

    Example: [bold]adaptershare status --verify[/bold]
    """
    reporter = Reporter(as_json)
    from adaptershare_cli.commands.status import print_status, workspace_status
    from adaptershare_cli.store.workspace import Workspace as WorkspaceFolder

    entries = workspace_status(WorkspaceFolder(workspace, writing=False), verify, _folders(task_dir))
    if as_json:
        rows = [{**vars(entry), "path": str(entry.path)} for entry in entries]
        reporter.finish({"command": "status", "artefacts": rows})
    else:
        print_status(reporter, entries)
    if any(entry.state == "damaged" for entry in entries):
        raise typer.Exit(1)


def main() -> None:
    """The console command `adaptershare`."""
    app()
