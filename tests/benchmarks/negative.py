"""Negative transfer: what does a real task lose when it is trained beside one whose labels are random?

    python tests/benchmarks/negative.py make --task sst2 --from FOLDER --out TASKS
    adaptershare train-share --task-dir TASKS --from TASKS --tasks sst2-real,sst2-noise …       (all runs: noxfile.py)
    python tests/benchmarks/negative.py table --workspace workspace/negative

The train rows of the task are cut into two halves. `real` has one of them, and the task's own scored rows. The partner
has the other half: `noise` with its labels shuffled, which nothing can be learnt from, and `placebo` with its true
labels, so that both partners cost the same and differ in their labels alone. What a method loses is its score with
`placebo`, and that of the task alone, minus its score with `noise`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from compare import bracketed, overlaps, read_metas, variants  # both lie beside this file
from halves import fetch, halved, rows_of, write_task

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.tasks import load_tasks
from adaptershare_cli.seeds import derive_seed

PARTNER_ROWS = 200  # scored rows of a partner: its own scores are of no interest


def make(definition: TaskDefinition, labels: list[str], downloaded: Path, out: Path) -> None:
    """Write the definitions and rows of `<task>-real`, `<task>-placebo` and `<task>-noise`."""
    tables, name = rows_of(definition, downloaded), definition.name
    train = halved(tables["train"], name, "train")
    scored = {split: table for split, table in tables.items() if split != "train"}
    write_task(f"{name}-real", f"Half of {name}", definition, labels, {"train": train["a"], **scored}, out)
    few = {split: table.iloc[:PARTNER_ROWS] for split, table in scored.items()}
    partner = {"train": train["b"], **few}
    write_task(f"{name}-placebo", f"The other half of {name}", definition, labels, partner, out)
    noise = {split: with_shuffled_labels(table, name, split) for split, table in partner.items()}
    write_task(f"{name}-noise", f"The other half of {name}, labels shuffled", definition, labels, noise, out)


def with_shuffled_labels(table: pd.DataFrame, *purpose: str) -> pd.DataFrame:
    """The same texts, with the labels in a random order."""
    generator = np.random.default_rng(derive_seed(0, "random-labels", *purpose))
    return table.assign(label=generator.permutation(table["label"].to_numpy()))


def scores(workspace: Path) -> pd.DataFrame:
    """One row a run: its method and settings, the partner (alone, placebo, noise), the seed, the real task's score.

    The score is the main metric in percent, the mean over the scored splits.
    """
    rows, metas = [], read_metas(workspace)
    names = variants(metas)
    for folder, meta in metas.items():
        info = meta["info"]
        (real,) = [task for task in info["tasks"] if task.endswith("-real")]
        partners = [task.rpartition("-")[2] for task in info["tasks"] if task != real]
        metrics = pd.read_parquet(folder / "metrics.parquet")
        own = metrics[metrics["final"] & metrics["main"] & (metrics["task"] == real) & (metrics["split"] != "select")]
        rows.append(
            {
                "method": names[folder] if partners else "", "seed": info["seed"],
                "partner": partners[0] if partners else "alone", "value": 100 * own["value"].mean(),
                "examples": info["examples"][real], **overlaps(folder, info["tasks"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def loss_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a method: the real task alone, with each partner, and what it loses by the noise; means over seeds ± sd.

    Losses are paired by seed. Of the runs with noise: `examples` are the rows of the real task that they trained on,
    `overlap` that of the two tasks' masks.
    """
    alone = runs[runs["partner"] == "alone"].set_index("seed")["value"]
    found = []
    for method, own in runs[runs["partner"] != "alone"].groupby("method", sort=False):
        by_partner = own.pivot(index="seed", columns="partner", values="value")
        placebo, noise = (by_partner.get(name, pd.Series(dtype=float)) for name in ("placebo", "noise"))
        noisy = own[own["partner"] == "noise"].mean(numeric_only=True)
        found.append(
            {
                "method": method, "seeds": len(by_partner), "alone": spread(alone), "with placebo": spread(placebo),
                "with noise": spread(noise), "loss to alone": spread(alone - noise),
                "loss to placebo": spread(placebo - noise),
                "examples": f"{noisy['examples']:,.0f}",
                "overlap [by chance]": bracketed(noisy["overlap"], noisy["by chance"]),
            }
        )  # fmt: skip
    return pd.DataFrame(found)


def spread(values: pd.Series) -> str:
    """Mean ± sample standard deviation over the seeds that have a value."""
    values = values.dropna()
    if values.empty:
        return "–"
    return f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")


def main() -> None:
    """Make the tasks, or print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--task", required=True)
    making.add_argument("--from", dest="source", required=True)
    making.add_argument("--out", type=Path, required=True)
    printing = commands.add_parser("table")
    printing.add_argument("--csv", type=Path, help="also write every run's score")
    for command in (making, printing):
        command.add_argument("--workspace", type=Path, default=Path("workspace"))
    options = parser.parse_args()
    if options.command == "make":
        (definition,) = load_tasks(()).select(options.task)
        artefact = fetch(options.task, options.source, options.workspace)[definition.name]
        options.out.mkdir(parents=True, exist_ok=True)
        make(definition, artefact["info"]["labels"], Path(artefact["path"]), options.out)
        return
    runs = scores(options.workspace)
    if options.csv:
        runs.round(2).to_csv(options.csv, index=False)
    frame = loss_table(runs)
    print("| " + " | ".join(frame.columns) + " |\n" + "|" + "---|" * len(frame.columns))
    for row in frame.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
