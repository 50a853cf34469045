"""Time and memory of every measure on 3, 8 and 30 tasks, each in a process of its own.

    python tests/benchmarks/measures.py --from FOLDER --workspace workspace/measures --counts 3,8,30 > measures.csv

3 and 8 are GLUE tasks with 1000 train rows each, all of which pass through `gradts`; 30 are halves of 13 data sets and
four tasks of `tiny`, with 200 rows each. Trainings are kept to a few updates: what they take is not what is measured,
so each measure finds the runs made that it looks at. Truth (transfer, pair) is nothing but trainings, as many as there
are pairs; it is measured on up to `--truth-up-to` tasks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from adaptershare_cli.measures import MEASURES
from adaptershare_cli.measures.needs import RunTable, Truth

# The method of the run that a measure is taken from, by the table that it needs; else shared.
RUN_OF = {"attention": "adapterfusion", "embeddings": "hyperformer++", "masks": "sparse-sharing"}
HALVED = "mnli,cola,sst2,mrpc,stsb,qqp,qnli,rte,wnli,atis-intent,snips-intent,banking77,clinc150"
TINY = "sentiment-film,sentiment-food,topic-mail,topic-news"


@dataclass(frozen=True)
class Cut:
    """Which tasks, how many rows of each, and where their definitions are."""

    tasks: str
    rows: int
    heldout: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class Used:
    """What a command took: seconds, and the peak of its resident memory in MiB."""

    seconds: float
    peak: float


def command(*words: str) -> Used:
    """Run the command line in a process of its own and measure it. Raises CalledProcessError where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "adaptershare_cli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return Used(time.perf_counter() - started, usage.ru_maxrss * unit / 2**20)


def cut_of(count: int, source: str, workspace: Path) -> Cut:
    """The tasks of that number; the halves are written where they are missing."""
    if count == 3:
        return Cut("sst2,mrpc,rte", 1000, 64, ("--from", source))
    if count == 8:
        return Cut("mnli,cola,sst2,mrpc,stsb,qqp,qnli,rte", 1000, 64, ("--from", source))
    halves = workspace / "halves"
    if not halves.is_dir():
        script = [sys.executable, str(Path(__file__).with_name("halves.py")), "--tasks", HALVED, "--from", source]
        subprocess.run([*script, "--out", str(halves), "--workspace", str(workspace / "download")], check=True)
    return Cut(f"*-a,*-b,{TINY}", 200, 16, ("--from", str(halves), "--task-dir", str(halves)))


def joint_run(cut: Cut, count: int, workspace: Path, options: argparse.Namespace, method: str = "shared") -> Used:
    """A run of `method`; with a few checks and two look-aheads if it is `shared`."""
    steps = options.updates * count
    own = {
        "shared": ["--first-check", steps // 4, "--check-every", steps // 4, "--lookahead-every", steps // 3],
        "sparse-sharing": ["--rounds", 2, "--multitask-warmup-epochs", 0],
    }.get(method, [])
    return command(
        "train-share", "--method", method, "--tasks", cut.tasks, *cut.places, "-w", str(workspace),
        "--max-train-examples", str(cut.rows), "--max-eval-examples", "50", "--max-seq-length", "64",
        "--heldout-size", str(cut.heldout), "--select-size", "16", "--max-steps", str(steps),
        "--task-sampling", "uniform", *map(str, own), "--threads", options.threads, "--model", options.model,
    )  # fmt: skip


def run_of(measure: str) -> str:
    """The method of the run that a measure is taken from."""
    needs = MEASURES[measure].needs
    return RUN_OF.get(needs.name, "shared") if isinstance(needs, RunTable) else "shared"


def main() -> None:
    """Measure, and print CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--workspace", type=Path, default=Path("workspace/measures"))
    parser.add_argument("--counts", default="3,8,30", help="Of 3, 8 and 30.")
    parser.add_argument("--measures", default=",".join(MEASURES))
    parser.add_argument("--truth-up-to", type=int, default=8, help="Tasks.")
    parser.add_argument("--updates", type=int, default=4, help="Updates on each task in every training.")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    print("tasks,step,seconds,peak MiB", flush=True)
    for count in map(int, options.counts.split(",")):
        workspace = options.workspace / f"{count}-tasks"
        cut = cut_of(count, options.source, options.workspace)

        def show(name: str, used: Used, count: int = count) -> None:
            print(f"{count},{name},{used.seconds:.1f},{used.peak:.0f}", flush=True)

        names = options.measures.split(",")
        for method in dict.fromkeys(["shared", *map(run_of, names)]):
            show(f"train-share --method {method}", joint_run(cut, count, workspace, options, method))
        place = ("-w", str(workspace))
        own = (*place, "--run", "shared", "--model", options.model)
        show("single-task runs", command("correlate", "--measure", "adapter-weights", *own))
        for name in sorted(names, key=lambda name: MEASURES[name].needs == Truth()):  # which has to be there first
            needs = MEASURES[name].needs
            if needs.sees_scored_splits and count > options.truth_up_to:
                continue
            looked_at = (*place, "--run", run_of(name))
            show(name, command("correlate", "--measure", name, "--force", *(own if needs.runs_encoder else looked_at)))


if __name__ == "__main__":
    main()
