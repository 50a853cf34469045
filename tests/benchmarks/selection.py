"""What was selected for each target of a workspace, and what it brings beside the baselines.

    python tests/benchmarks/selection.py --workspace workspace/small [--csv FILE]

One row a set that was trained: its score on select rows, by which sets are chosen, and the target's main metric on its
scored splits in percent, with the difference to the target alone, paired by seed (± standard error over the seeds).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def selections(workspace: Path) -> dict[Path, dict[str, Any]]:
    """The folder of each selection, with what it recorded."""
    files = sorted(workspace.glob("correlate/[!.]*/selection.parquet"))
    return {
        file.parent: json.loads((file.parent / "artefact.json").read_text(encoding="utf-8"))["info"] for file in files
    }


def error(values: np.ndarray) -> float:
    """Standard error of the mean; NaN for one value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def rows(folder: Path, info: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a trained set of a selection, in the order in which they were trained."""
    frame = pd.read_parquet(folder / "selection.parquet")
    trained = frame[frame["score"].notna()]
    alone = trained[trained["auxiliaries"].str.len() == 0]["scored"]
    found = []
    for (procedure, step), part in trained.groupby(["procedure", "step"], sort=False):
        first = part.iloc[0]
        scored = 100 * np.asarray(first["scored"], dtype=float)
        gain = scored - 100 * np.asarray(alone.iloc[0]) if len(alone) else np.full(len(scored), np.nan)
        found.append(
            {
                "selection": folder.name, "target": info["target"], "by": info["by"], "procedure": procedure,
                "rule": first["rule"] or "", "step": step, "along with": " ".join(first["auxiliaries"]) or "none",
                "rows kept": part["rows"].str.len().sum(min_count=1),
                "chosen": bool(first["chosen"]), "select": 100 * first["score"], "seeds": len(scored),
                "scored": scored.mean(), "scored ±": error(scored), "gain": gain.mean(), "gain ±": error(gain),
            }
        )  # fmt: skip
    return found


def main() -> None:
    """Print the table, and what all selections took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--csv", type=Path, help="also write the table")
    options = parser.parse_args()
    there = selections(options.workspace)
    table = pd.DataFrame([row for folder, info in there.items() for row in rows(folder, info)])
    table = table.drop_duplicates(list(table.columns.drop("selection")))  # fg repeats the trial that it starts from
    if options.csv:
        table.round(3).to_csv(options.csv, index=False)
    print(table.drop(columns="selection").round(2).to_string(index=False, na_rep=""))
    for folder, info in there.items():
        cost = info["cost"]
        print(f"{folder.name}: {cost['trainings']} trainings, {cost['training']['passes']:,} passes of an example")


if __name__ == "__main__":
    main()
