"""The commands beside the stages: they read what stages made, or what stages are to read, and make no artefact."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from adaptershare_cli.cli import arguments as a
from adaptershare_cli.cli.call import Call, folders
from adaptershare_cli.cli.console import print_json
from adaptershare_cli.cli.help import BASIC
from adaptershare_cli.cli.options import with_options
from adaptershare_cli.cli.streams import Printed
from adaptershare_cli.errors import UserError
from adaptershare_cli.scratch import use_scratch
from adaptershare_cli.settings import PredictSettings, ServeSettings, flag


@with_options(makes=False)
def status(
    call: Call,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte, and the tasks' source files."), BASIC
    ] = False,
    task_dir: a.TaskDir = None,
) -> None:
    """List every artefact and checkpoint: whole, stale, partial or damaged, and why. Exit code 1 if one is damaged.

    Example: [bold]adaptershare status --verify[/bold]
    """
    from adaptershare_cli.commands.status import print_status, workspace_status
    from adaptershare_cli.store.workspace import Workspace

    entries = workspace_status(Workspace(call.workspace, writing=False), verify, folders(task_dir))
    if call.screen.as_json:
        rows = [{**vars(entry), "path": str(entry.path)} for entry in entries]
        damaged = any(entry.state == "damaged" for entry in entries)
        call.screen.finish({"command": "status", "artefacts": rows, "exit_code": int(damaged)})
    else:
        print_status(call.screen, entries)
    if any(entry.state == "damaged" for entry in entries):
        raise typer.Exit(1)


@with_options(PredictSettings, makes=False)
def predict(
    call: Call,
    run: a.Run = None,
    input_file: a.Input = None,
    output: a.Output = None,
    task: a.OneOrAll = None,
    column: a.Columns = None,
    input_format: a.InputFormat = None,
    output_format: a.OutputFormat = None,
    glue_submission: a.GlueSubmission = None,
    task_dir: a.TaskDir = None,
    model: a.RunModel = None,
) -> None:
    """Predict rows of a file or texts of standard input with what a run trained; columns are added to the rows.

    Example: [bold]adaptershare predict adaptershare --input reviews.csv --column text=body -o labelled.csv[/bold]

    Of texts: [bold]echo "a good film" | adaptershare predict --input - --task sentiment-film[/bold]
    """
    if input_file is None:
        raise UserError("No input is named", "--input", "Give a file, or - for texts on standard input, one a line.")
    source, target = (None if path in (None, Path("-")) else path for path in (input_file, output))
    if glue_submission is not None:
        useless = {"output": output, "column": column, "format": input_format, "output_format": output_format}
        for name, value in {**useless, "top_k": call.options.get("top_k")}.items():
            if value is not None:
                raise UserError(f"{flag(name)} has no effect beside --glue-submission", fix="Leave one of them out.")
    elif target is None:
        if call.screen.as_json:
            raise UserError("--json and the rows cannot both be printed", "--output", "Name a file with --output.")
        call.screen.aside()
    use_scratch(call.workspace)
    from adaptershare_cli.commands.glue import submit_to_glue
    from adaptershare_cli.commands.predict import Request, predict_rows
    from adaptershare_cli.store.workspace import Workspace

    workspace, settings = Workspace(call.workspace, writing=False), call.settings(PredictSettings)
    task_dirs, screen = folders(task_dir), call.screen
    if glue_submission is not None:
        told = submit_to_glue(
            workspace, run, task, model, input_file, glue_submission, settings, task_dirs, screen
        )  # fmt: skip
    else:
        request = Request.of(source, target, input_format, output_format, column)  # type: ignore[arg-type]
        told = predict_rows(workspace, run, task, model, request, settings, task_dirs, screen, Printed())
    if call.screen.as_json:
        call.screen.finish({"command": "predict", **told})


@with_options(ServeSettings, makes=False)
def serve(
    call: Call,
    run: a.Run = None,
    task: a.OneOrAll = None,
    task_dir: a.TaskDir = None,
    model: a.RunModel = None,
) -> None:
    """Serve a run's tasks over HTTP; requests for different tasks are answered together, in one pass.

    Its address is printed once it answers. SIGTERM or Ctrl-C stops it: what was asked by then is answered.

    Example: [bold]adaptershare serve adaptershare --port 8000[/bold]

    Ask it: [bold]curl --json '{"texts": ["a good film"], "task": "sst2"}' http://127.0.0.1:8000/predict[/bold]
    """
    call.screen.aside()
    use_scratch(call.workspace)
    from adaptershare_cli.commands.serve import check_installed, serve_run
    from adaptershare_cli.store.workspace import Workspace

    def ready(told: dict[str, Any]) -> None:
        if call.screen.as_json:
            print_json({"command": "serve", **told})
        else:
            print(told["url"])
        sys.stdout.flush()

    check_installed()
    workspace, settings = Workspace(call.workspace, writing=False), call.settings(ServeSettings)
    serve_run(workspace, run, task, model, settings, folders(task_dir), call.screen, ready)


@with_options(makes=False)
def init(
    call: Call,
    files: a.InitFiles,
    task_dir: a.InitDir = None,
    text: a.TextColumn = None,
    text_pair: a.PairColumn = None,
    label: a.LabelColumn = None,
    kind: a.InitKind = None,
    group: a.GroupColumn = None,
    weight: a.WeightColumn = None,
    name: a.InitName = None,
    sheet: a.InitSheet = None,
    yes: a.Yes = False,
    overwrite: a.Overwrite = False,
) -> None:
    """Write task definitions for files as they come: layout, columns, kind and splits are found and told.

    Files whose names differ in train, dev or test alone are one task; of one file a fifth is scored.

    Example: [bold]adaptershare init exports/*.csv --task-dir mytasks[/bold]
    """
    given = {"text": text, "text_pair": text_pair, "label": label, "kind": kind, "group": group, "weight": weight}
    given |= {"name": name, "sheet": sheet}
    use_scratch(call.workspace)
    from adaptershare_cli.commands.init import init_tasks

    said = {role: value for role, value in given.items() if value is not None}
    asks = sys.stdin.isatty() and not call.screen.as_json
    choose = _choose if asks and not yes else None
    done = init_tasks(files, task_dir, said, call.screen, typer.confirm if asks else None, yes, overwrite, choose)
    if call.screen.as_json:
        call.screen.finish({"command": "init", "tasks": done})


def _choose(question: str, names: Sequence[str]) -> str:
    """Ask until one of the names is given."""
    return str(typer.prompt(question, type=click.Choice(names), show_choices=False))


@with_options(makes=False)
def export(
    call: Call,
    run: a.Run = None,
    to: a.ExportTo = None,
    task: a.ExportTasks = None,
    form: a.ExportForm = "adapterhub",
    model: a.RunModel = None,
) -> None:
    """Export tasks of a run as folders that load without this program: weights, head, tokenizer and a model card.

    Example: [bold]adaptershare export adaptershare --task mrpc --to mrpc-adapter[/bold]

    For onnxruntime: [bold]adaptershare export --task mrpc --format onnx --to mrpc-graph[/bold]
    """
    if to is None:
        raise UserError("No folder is named", "--to", "Give a new folder, for example --to my-adapter.")
    use_scratch(call.workspace)
    from adaptershare_cli.commands.export import export_run
    from adaptershare_cli.store.workspace import Workspace

    found = export_run(Workspace(call.workspace, writing=False), run, task, model, to, call.screen, form)
    if call.screen.as_json:
        call.screen.finish({"command": "export", "folders": {name: str(path) for name, path in found.items()}})
    else:
        for folder in found.values():
            call.screen.path(str(folder))


@with_options(makes=False)
def compare(
    call: Call,
    run_a: a.RunA,
    run_b: a.RunB,
    task: a.ExportTasks = None,
    shown: a.Flips = 0,
    output: a.FlipsOutput = None,
) -> None:
    """Compare two runs, or two sets of runs paired by seed, row by row: differences, intervals, rows that tell.

    Tasks that both have are compared; of others it is said why not.

    Example: [bold]adaptershare compare adaptershare private --flips 10[/bold]

    With each task alone: [bold]adaptershare compare adaptershare "train-single/*"[/bold]
    """
    use_scratch(call.workspace)
    from adaptershare_cli.commands.compare import compare_runs
    from adaptershare_cli.store.workspace import Workspace

    workspace = Workspace(call.workspace, writing=False)
    told = compare_runs(workspace, (run_a, run_b), task, shown, output, call.screen)
    if call.screen.as_json:
        call.screen.finish({"command": "compare", **told})
    if call.screen.exit_code:
        raise typer.Exit(call.screen.exit_code)


@with_options(makes=False)
def ls(call: Call, run: a.RunWords = None, method: a.MethodWords = None, tasks: a.TaskWords = None) -> None:
    """List runs, newest first: method, seed, tasks, mean score, size and age.

    Example: [bold]adaptershare ls --method "plan-*,shared" --tasks rte[/bold]
    """
    from adaptershare_cli.commands.ls import list_runs, print_runs
    from adaptershare_cli.store.workspace import Workspace

    words = [word for part in (run or "").split(",") if (word := part.strip())]
    listed = list_runs(Workspace(call.workspace, writing=False), words, method, tasks)
    if call.screen.as_json:
        call.screen.finish({"command": "ls", "runs": [found.to_json() for found in listed]})
    else:
        print_runs(call.screen, listed)


@with_options(makes=False)
def clean(
    call: Call,
    run: a.RunWords = None,
    stale_runs: a.StaleRuns = False,
    cached: a.Cached = False,
    dry_run: a.DryRun = False,
    yes: a.YesDelete = False,
    task_dir: a.TaskDir = None,
) -> None:
    """Delete what is of no use any more or can be made again, after a question: what, why, how large, what remakes it.

    Without options: what stopped processes left, checkpoints of finished runs, outdated artefacts, superseded runs.

    Example: [bold]adaptershare clean --dry-run[/bold]

    Runs that are named go too: [bold]adaptershare clean "adapterfusion-*" --yes[/bold]
    """
    from adaptershare_cli.commands import clean as cleaning
    from adaptershare_cli.commands.status import Survey
    from adaptershare_cli.data.tasks import load_tasks
    from adaptershare_cli.store.workspace import Workspace

    words = tuple(word for part in (run or "").split(",") if (word := part.strip()))
    survey = Survey(Workspace(call.workspace, writing=False), False, load_tasks(folders(task_dir)).tasks)
    plan = cleaning.plan_cleaning(survey, cleaning.Wanted(words, stale_runs, cached))
    cleaning.print_plan(call.screen, plan)
    if plan.removals and not dry_run:
        if not yes:
            can_ask = sys.stdin.isatty() and not call.screen.as_json
            if not can_ask or not typer.confirm("Delete them?"):
                raise UserError("Nothing was deleted", fix="--yes deletes without a question, --dry-run only shows.")
        workspace = Workspace(call.workspace)
        if not workspace.writable:
            raise workspace.unwritable()
        plan = cleaning.remove(workspace, plan, call.screen.line)
        call.screen.line(f"deleted {len(plan.removals)} folders")
    if call.screen.as_json:
        call.screen.finish({"command": "clean", "dry_run": dry_run, **plan.to_json()})


HELPERS = (status, predict, serve, init, export, compare, ls, clean)
