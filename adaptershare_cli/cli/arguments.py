"""Options that are no settings, as annotations of the commands' parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from adaptershare_cli.cli import paths
from adaptershare_cli.cli.config import read_config
from adaptershare_cli.cli.help import BASIC
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import OF_TEXTS
from adaptershare_cli.measures import MEASURES, TRUTHS
from adaptershare_cli.methods import METHODS, PRESETS

LARGEST_SEED = 2**32 - 1
# Optional[...] rather than X | None: Typer evaluates these annotations.
Workspace = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="ADAPTERSHARE_WORKSPACE", help="Folder of all artefacts.", **paths.ONE),
    BASIC,
]
Tasks = Annotated[
    str,
    typer.Option("--tasks", "-t", help="Task names, suites and globs, comma-separated.", show_default=False),
    BASIC,
]
TaskDir = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Folders with your own task definitions, comma-separated.", callback=paths.folders),
    BASIC,
]
FromFolder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--from", help="Read the tasks' files from this folder (remembered by the workspace).", **paths.ONE),
    BASIC,
]
Model = Annotated[str, typer.Option(help="Encoder: `embedded`, a folder, or a hub id.", callback=paths.folder), BASIC]
Seed = Annotated[int, typer.Option(help="Random seed of a run.", min=0, max=LARGEST_SEED)]
Seeds = Annotated[Optional[str], typer.Option(help="Several seeds, comma-separated: one run each."), BASIC]  # noqa: UP045
Force = Annotated[bool, typer.Option("--force", help="Make this stage's artefacts again."), BASIC]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Fail at once where another process is making what is needed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on stdout."), BASIC]
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="TOML file of option names and values; the command line wins.",
        callback=read_config,
        is_eager=True,
        **paths.ONE,
    ),
    BASIC,
]
RunSpec = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--run", help="Runs by name, method, key prefix, glob or path, comma-separated.", callback=paths.runs),
    BASIC,
]

# Of train-share.
Method = Annotated[
    Literal[*METHODS],  # type: ignore[valid-type]
    typer.Option(help=";\n".join(f"{name}: {spec.summary}" for name, spec in METHODS.items()) + "."),
    BASIC,
]
Preset = Annotated[
    Optional[Literal[*PRESETS]],  # type: ignore[valid-type]  # noqa: UP045
    typer.Option(
        help="Settings of a publication; options that you give win.\n"
        + ";\n".join(f"{name}: {preset.help}" for name, preset in PRESETS.items())
        + "."
    ),
    BASIC,
]
Selection = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Train on what `correlate --select` selected, instead of --tasks: a selection by name, procedure, key "
        "prefix, glob or path. Its tasks' rows are taken as they were selected.",
        callback=paths.runs,
    ),
    BASIC,
]
Target = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Of --selection: the target, where it names the selections of several."),
]

# Of correlate.
Measures = Annotated[
    str,
    typer.Option(
        help="Measures, comma-separated:\n"
        + ";\n".join(f"{name} ({spec.summary})" for name, spec in MEASURES.items())
        + "."
    ),
    BASIC,
]
Against = Annotated[
    Optional[Literal[*TRUTHS]],  # type: ignore[valid-type]  # noqa: UP045
    typer.Option(
        help="Judge the measures against this measured truth: a table of scores, beside random measures and a "
        "ceiling. Where the truth is missing it is measured first, as by --measure, after a line on what that will "
        "cost; it may be stopped and goes on. popularity is taken from the same truth (without this: transfer)."
    ),
    BASIC,
]
TruthSeeds = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--seeds",
        help="Seeds of the trainings that a measure, --against or --select makes, comma-separated; by default the "
        "runs' seeds.",
    ),
    BASIC,
]
RunsModel = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--model",
        help="The runs' encoder, where it is not found again (a folder that was moved).",
        callback=paths.folder,
    ),
]
Verdict = Annotated[
    bool,
    typer.Option(
        "--verdict",
        help="Judge the plans of the runs instead: with two fresh seeds (or --seeds), is a plan worth more than "
        "sharing all, keeping apart, and random plans? What it will cost is said first.",
    ),
    BASIC,
]
Plot = Annotated[
    bool,
    typer.Option("--plot", help="Draw heat maps, sharing pictures and, with --against, scatter plots (PNG, SVG)."),
    BASIC,
]
PlotFitted = Annotated[
    bool,
    typer.Option(
        "--plot-fitted",
        help="Draw as --plot does, with colours of heat maps that fit the data, and tasks ordered by a clustering; by "
        "default both are the same for all runs.",
    ),
]

# Of predict.
Run = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(
        metavar="RUN",
        help="A run by name, method, key prefix, glob or path, outside any workspace too; by default the newest joint "
        "run.",
        callback=paths.runs,
        show_default=False,
    ),
    BASIC,
]
Input = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--input", "-i", help="File of rows: CSV, TSV, JSONL, Parquet, or a text a line (.txt); - for "
                 "standard input, which holds a text a line unless --format says otherwise.", **paths.ONE),
    BASIC,
]  # fmt: skip
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output", "-o", help="File for the rows with their predictions; without it they are printed.",
                 **paths.ONE),
    BASIC,
]  # fmt: skip
OneOrAll = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--task", help="Tasks of the run, comma-separated, or `all` (the default): every text through every "
                 "task, in one pass as far as they share layers."),
    BASIC,
]  # fmt: skip
Columns = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--column", help="Which column is read for what, comma-separated: ROLE=COLUMN, or TASK.ROLE=COLUMN, "
                 "with the roles text and text_pair; by default as the task's definition calls them, or as the role."),
    BASIC,
]  # fmt: skip
InputFormat = Annotated[
    Optional[Literal["csv", "tsv", "jsonl", "parquet", "text"]],  # noqa: UP045
    typer.Option("--format", help="Format of the input; by default as its name tells."),
    BASIC,
]
OutputFormat = Annotated[
    Optional[Literal["csv", "tsv", "jsonl", "parquet"]],  # noqa: UP045
    typer.Option("--output-format", help="Format of the output; by default as its name tells, or as the input's (of "
                 "texts JSONL)."),
]  # fmt: skip
TableFormat = Annotated[
    Optional[Literal["latex", "csv", "markdown"]],  # noqa: UP045
    typer.Option("--format", help="Print the tables in this form on standard output, and all else on stderr."),
    BASIC,
]
ExportTo = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--to", help="Folder that is made: of one task itself, of several with a folder each.", **paths.ONE),
    BASIC,
]
ExportForm = Annotated[
    Literal["adapterhub", "onnx", "merged", "peft"],
    typer.Option("--format", help="A folder that `adapters` loads onto the encoder, one ONNX graph of encoder, adapter "
                 "and head, or of lora and ia3: an encoder with the adapter in its weights, or peft's layout."),
    BASIC,
]  # fmt: skip
ExportTasks = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--task", help="Tasks of the run, comma-separated, or `all` (the default)."),
    BASIC,
]
GlueSubmission = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Answer GLUE's unlabelled test files in the folder --input, and write the files of a submission "
                 "and their zip into this folder.", **paths.ONE),
]  # fmt: skip
RunModel = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--model",
        help="The run's encoder, where it is not found again (a folder that was moved).",
        callback=paths.folder,
    ),
    BASIC,
]

# Of compare.
_SIDE = "runs by name, method, key prefix, glob or path, comma-separated; no two of one task and seed."
RunA = Annotated[str, typer.Argument(metavar="RUN", help=f"A: {_SIDE}", callback=paths.runs, show_default=False), BASIC]
RunB = Annotated[str, typer.Argument(metavar="RUN", help=f"B: {_SIDE}", callback=paths.runs, show_default=False), BASIC]
Flips = Annotated[
    int, typer.Option("--flips", help="Show so many rows of each task that only one side has right.", min=0), BASIC
]
FlipsOutput = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output", "-o", help="Parquet, CSV, TSV or JSONL file for all rows that only one side has right.",
                 **paths.ONE),
    BASIC,
]  # fmt: skip

# Of ls and clean.
RunWords = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(metavar="RUN", help="Runs by name, method or task, key prefix, glob or path, comma-separated.",
                   callback=paths.runs, show_default=False),
    BASIC,
]  # fmt: skip
MethodWords = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--method", help="Only runs of these methods: names or globs, comma-separated."),
    BASIC,
]
TaskWords = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--tasks", "-t", help="Only runs that have all of these tasks: names or globs, comma-separated."),
    BASIC,
]
StaleRuns = Annotated[
    bool, typer.Option("--stale-runs", help="Also outdated runs whose place no newer run took."), BASIC
]
Cached = Annotated[
    bool,
    typer.Option("--cached", help="Also trainings that are kept for plan search, verdicts and measured truth."),
    BASIC,
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted."), BASIC]
YesDelete = Annotated[bool, typer.Option("--yes", "-y", help="Delete without a question."), BASIC]

# Of init.
InitFiles = Annotated[
    list[Path],
    typer.Argument(metavar="FILES", help="CSV, TSV, JSON, JSON Lines, Parquet or Excel.", show_default=False),
    BASIC,
]
InitDir = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--task-dir", help="Folder for the definitions; by default that of the files."),
    BASIC,
]
TextColumn = Annotated[Optional[str], typer.Option("--text", help="The column of texts."), BASIC]  # noqa: UP045
PairColumn = Annotated[Optional[str], typer.Option("--text-pair", help="That of second texts."), BASIC]  # noqa: UP045
LabelColumn = Annotated[Optional[str], typer.Option("--label", help="The column of labels."), BASIC]  # noqa: UP045
InitKind = Annotated[
    Optional[Literal[*OF_TEXTS]],  # type: ignore[valid-type]  # noqa: UP045
    typer.Option("--kind", help="What the labels are."),
    BASIC,
]
InitName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--name", help="The task's name; all files are of that task."),
    BASIC,
]
GroupColumn = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--group", help="The column of groups, whose rows no cut parts."),
]
WeightColumn = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--weight", help="The column of rows' weights in the loss."),
]
InitSheet = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--sheet", help="The sheet of a workbook: its name, or number from 1."),
    BASIC,
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Take what was assumed, without a question."), BASIC]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over definitions that are there."), BASIC]


def named(tasks: str) -> str:
    """--tasks, which may come from --config, so that its absence is noticed only here: a UserError."""
    if not tasks.strip():
        raise UserError(
            "No tasks are named", where="--tasks", fix="For example --tasks tiny, or --tasks mnli,cola,rte."
        )
    return tasks


def seed_list(seed: int, seeds: str | None) -> list[int]:
    """The seeds of --seeds, each once, or that of --seed. Raises UserError for what is no list of seeds."""
    if seeds is None:
        return [seed]
    try:
        numbers = list(dict.fromkeys(int(part) for part in seeds.split(",")))
    except ValueError as error:
        raise UserError(
            f"--seeds takes whole numbers separated by commas, got {seeds!r}", fix="For example --seeds 0,1,2."
        ) from error
    if any(not 0 <= number <= LARGEST_SEED for number in numbers):
        raise UserError(f"--seeds must lie between 0 and {LARGEST_SEED}, got {seeds!r}")
    return numbers
