"""The Typer app: options become settings, one function of `commands` is called. Torch is imported only inside one."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from dataclasses import fields
from functools import partial
from typing import Annotated, Any

import typer

from adaptershare_cli import __version__
from adaptershare_cli.cli import arguments as a
from adaptershare_cli.cli import helpers
from adaptershare_cli.cli.call import Artefacts, Call
from adaptershare_cli.cli.help import Command
from adaptershare_cli.cli.options import with_options
from adaptershare_cli.cli.program import VERBOSE, Program
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES, has_use, measure_settings, takes_option, wanted_measures
from adaptershare_cli.methods import METHODS, method_settings, preset_values
from adaptershare_cli.model.adapters import training_options
from adaptershare_cli.settings import (
    DownloadSettings,
    PreproSettings,
    RuntimeSettings,
    SelectionSettings,
    StartSettings,
    VerdictSettings,
    flag,
    joint_settings,
)

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
command = partial(app.command, cls=Command)


def _version(ctx: typer.Context, value: bool) -> None:
    if not value:
        return
    print(f"adaptershare {__version__}")
    if ctx.meta[VERBOSE]:
        from adaptershare_cli.runs.checkpoints import machine

        for name, found in machine("cpu").items():
            print(f"{name} {found}")
        print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores")
    raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --version: also those of the libraries, and the machine.")
    ] = False,
) -> None:
    pass


@command()
@with_options(DownloadSettings)
def download(
    call: Call, tasks: a.Tasks = "", task_dir: a.TaskDir = None, from_folder: a.FromFolder = None
) -> Artefacts:
    """Fetch tasks' rows from the hub, a folder or the embedded data, check them, write Parquet.

    Example: [bold]adaptershare download --tasks mnli,cola,rte --from ~/data[/bold]
    """
    names = a.named(tasks)
    context = call.context(task_dir=task_dir, from_folder=from_folder)
    from adaptershare_cli.commands.download import check_source, download_task

    definitions = context.tasks(names)
    for definition in definitions:
        check_source(context, definition)
    return [download_task(context, definition) for definition in definitions]


@command()
@with_options(PreproSettings, DownloadSettings)
def prepro(
    call: Call,
    tasks: a.Tasks = "",
    task_dir: a.TaskDir = None,
    from_folder: a.FromFolder = None,
    model: a.Model = "embedded",
) -> Artefacts:
    """Tokenise tasks, cut held-out and select rows from train, drop rows that would leak.

    Example: [bold]adaptershare prepro --tasks glue --from ~/data --max-train-examples 2000[/bold]
    """
    names = a.named(tasks)
    context = call.context(task_dir=task_dir, from_folder=from_folder, model=model)
    call.say_taken(model=model)
    from adaptershare_cli.commands.early import check_early
    from adaptershare_cli.commands.prepro import prepare

    definitions = context.tasks(names)
    check_early(context, definitions)
    return [prepare(context, definition) for definition in definitions]


@command("train-single")
@with_options(StartSettings, training_options(), RuntimeSettings, PreproSettings, DownloadSettings)
def train_single(
    call: Call,
    tasks: a.Tasks = "",
    task_dir: a.TaskDir = None,
    from_folder: a.FromFolder = None,
    model: a.Model = "embedded",
    seed: a.Seed = 0,
    seeds: a.Seeds = None,
) -> Artefacts:
    """Train an adapter and a head for each task alone.

    Example: [bold]adaptershare train-single --tasks mrpc,rte --seeds 0,1,2[/bold]
    """
    names, numbers = a.named(tasks), a.seed_list(seed, seeds)
    context = call.context(task_dir=task_dir, from_folder=from_folder, model=model)
    call.say_taken(model=model)
    from adaptershare_cli.commands.train_single import train_single

    return train_single(context, context.tasks(names), numbers, call.settings(StartSettings))


@command("train-share")
@with_options(
    ("Method", [spec.settings for spec in METHODS.values()]),
    training_options(),
    RuntimeSettings,
    PreproSettings,
    DownloadSettings,
)
def train_share(
    call: Call,
    tasks: a.Tasks = "",
    method: a.Method = "adaptershare",
    preset: a.Preset = None,
    selection: a.Selection = None,
    target: a.Target = None,
    task_dir: a.TaskDir = None,
    from_folder: a.FromFolder = None,
    model: a.Model = "embedded",
    seed: a.Seed = 0,
    seeds: a.Seeds = None,
) -> Artefacts:
    """Train several tasks together, by AdapterShare or a method that it is compared with.

    Example: [bold]adaptershare train-share --tasks mnli,cola,rte --from ~/data[/bold]

    Train what was selected: [bold]adaptershare train-share --selection trial --target mrpc --method shared[/bold]
    """
    numbers = a.seed_list(seed, seeds)
    of_methods = joint_settings([spec.settings for spec in METHODS.values()])
    call, _ = call.passing_over(of_methods.keys() - METHODS[method].options, f"--method {method}")
    options = {name: value for name, value in call.options.items() if name in of_methods}
    settings = method_settings(method, options)  # a wrong option is refused before torch is imported
    if selection is None and target is not None:
        if "target" not in call.offered:
            raise UserError("--target belongs to --selection", fix="Name the selection, or leave it out.")
        call, _ = call.passing_over(["target"], "a call without --selection")
        target = None
    if selection is not None:
        call, passed = call.passing_over(OF_DATA, "--selection")
        data = {"tasks": tasks, "from_folder": from_folder, "task_dir": task_dir}
        _refuse_data_options({n: v for n, v in data.items() if v and n not in passed} | {**call.options})
        from_folder = task_dir = None
    defaults = settings.training_defaults
    context_with = partial(call.context, task_dir=task_dir, from_folder=from_folder, model=model)
    context = context_with({**defaults, **call.options})
    if selection is None:
        chosen: Any = context.tasks(a.named(tasks))
        count = len(chosen)
    else:
        from adaptershare_cli.studies.selected import find_selection

        chosen = find_selection(context, selection, target)
        count = len(chosen.tasks)
    if preset:
        values = preset_values(preset, count, call.options)
        if selection is not None:
            _refuse_data_options(values, where=f"--preset {preset}")
        options = {name: value for name, value in values.items() if name in METHODS[method].options} | options
        context = context_with({**defaults, **values})
    call.say_taken(method=method, model=model)
    from adaptershare_cli.commands.train_share import train_share

    return train_share(context, chosen, method, options, numbers)


_SETTINGS_OF_DATA = [item.name for cls in (DownloadSettings, PreproSettings) for item in fields(cls)]
OF_DATA = ("tasks", "from_folder", "task_dir", *_SETTINGS_OF_DATA)


def _refuse_data_options(values: Collection[str], where: str = "") -> None:
    """Refuse options beside --selection that say which rows to train on."""
    for name in values:
        if name in OF_DATA:
            raise UserError(
                f"{flag(name.removesuffix('_folder'))} has no effect beside --selection",
                where=where,
                fix="Leave it out: the selection says which rows to train on.",
            )


@command()
@with_options(
    ("Measure", [spec.settings for spec in MEASURES.values()]),
    ("Selection", [SelectionSettings]),
    ("Verdict", [VerdictSettings]),
    ("Runtime (by default as in the runs)", [RuntimeSettings]),
)
def correlate(
    call: Call,
    run_spec: a.RunSpec = None,
    measure: a.Measures = "gradient,gradient-directed,plan",
    against: a.Against = None,
    seeds: a.TruthSeeds = None,
    model: a.RunsModel = None,
    verdict: a.Verdict = False,
    plot: a.Plot = False,
    plot_fitted: a.PlotFitted = False,
) -> Artefacts:
    """Score how tasks relate, from a run (the newest train-share run, unless --run names others) and its data.

    Runs that differ in the seed (or device and threads) alone count together. Trainings that a measure needs are made
    as the run was.

    Example: [bold]adaptershare correlate --measure gradient,gradts,text --plot[/bold]

    Judge measures: [bold]adaptershare correlate --measure gradient,gradts,text --against transfer[/bold]

    Select tasks: [bold]adaptershare correlate --measure gradts --select trial --target mrpc[/bold]

    Is a plan worth it? [bold]adaptershare correlate --verdict --run plan-search[/bold]
    """
    if verdict:
        return _verdict(call, run_spec, seeds, model)
    call, _ = call.passing_over(OF_VERDICT, "a call without --verdict")
    if given := OF_VERDICT & call.options.keys():
        raise UserError(f"{flag(min(given))} belongs to --verdict", fix="Give --verdict too, or leave it out.")
    of_selection, of_runtime = ({item.name for item in fields(cls)} for cls in (SelectionSettings, RuntimeSettings))
    if "select" not in call.options:
        call, _ = call.passing_over(of_selection, "a call without --select")
    selection = call.settings(SelectionSettings)
    names = wanted_measures(measure, against, selection)
    useless = {name for name in ("seeds", "model", *of_runtime) if not has_use(names, name, selection)}
    of_measures = call.options.keys() - of_selection - of_runtime
    useless |= {name for name in of_measures if not takes_option(names, name, selection)}
    call, passed = call.passing_over(useless, f"--measure {','.join(names)}")
    seeds, model = (None if name in passed else value for name, value in (("seeds", seeds), ("model", model)))
    chosen_seeds = a.seed_list(0, seeds) if seeds is not None else None
    options = {name: value for name, value in call.options.items() if name not in of_selection | of_runtime}
    if against is not None and any("against" in MEASURES[name].options for name in names):
        options["against"] = against
    measure_settings(names, options, selection)  # a wrong option is refused before torch is imported
    runtime = {name: value for name, value in call.options.items() if name in of_runtime}
    context = call.context(runtime)
    call.say_taken(measure=measure)
    from adaptershare_cli.commands.correlate import correlate_runs

    return correlate_runs(
        context, run_spec, names, options, plot or plot_fitted, chosen_seeds, model, runtime, against, selection,
        fitted=plot_fitted,
    )  # fmt: skip


OF_VERDICT = {item.name for item in fields(VerdictSettings)}


def _verdict(call: Call, run_spec: str | None, seeds: str | None, model: str | None) -> Artefacts:
    """`correlate --verdict`: nothing is measured. Refuses the options of measures."""
    of_runtime = {item.name for item in fields(RuntimeSettings)}
    own = {"measure", "against", "plot", "plot_fitted", *(call.options.keys() - of_runtime - OF_VERDICT)}
    call, passed = call.passing_over(own, "--verdict")
    if wrong := sorted((own & (call.given | call.options.keys())) - {*passed}):
        raise UserError(f"{flag(wrong[0])} has no effect beside --verdict", fix="Give them in two calls.")
    runtime = {name: value for name, value in call.options.items() if name in of_runtime}
    numbers = a.seed_list(0, seeds) if seeds is not None else None
    settings, context = call.settings(VerdictSettings), call.context(runtime)
    from adaptershare_cli.commands.verdict import judge_plans

    return judge_plans(context, run_spec, settings, numbers, model, runtime)


@command()
@with_options()
def report(call: Call, run_spec: a.RunSpec = None, table_format: a.TableFormat = None) -> Artefacts:
    """Compare all runs (or those that --run names): a page that says what to do and why; tables for elsewhere.

    Example: [bold]adaptershare report[/bold]

    A table for a paper: [bold]adaptershare report --format latex > table.tex[/bold]
    """
    if table_format is not None:
        if call.screen.as_json:
            raise UserError("--json and the table cannot both be printed", "--format", "Leave one of them out.")
        call.screen.aside()
    context = call.context()
    from adaptershare_cli.commands.report import make_report

    return [make_report(context, run_spec, table_format)]


for helper in helpers.HELPERS:
    command()(helper)


def main() -> None:
    """The console command `adaptershare`."""
    app()
