"""Did the halves of one data set find each other? Scores the runs of a workspace on planted structure.

    python tests/benchmarks/planted.py --workspace workspace/planted

For each run: in how many tasks the nearest neighbour by mean cosine is the other half, at each check, over all
checks up to it and in each layer, against permuted names; and the adjusted Rand index of the last plan against the
planted pairs in each layer, beside that of plans with the same groups and permuted tasks (`random-plan`'s draw).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from adaptershare_cli.methods.random_plan.method import permuted
from adaptershare_cli.sharing.plan import SharingPlan
from tests.families import nearest_neighbour_score

RANDOM_PLANS = 200


def family(task: str) -> str:
    """The data set that a half comes from (of tiny: the family)."""
    return task.rpartition("-")[0]


def hits(rows: pd.DataFrame) -> tuple[int, float]:
    """Nearest-neighbour hits by the mean cosine of `rows`, and the p value under permuted names."""
    mean = rows.groupby(["task_a", "task_b"])["cosine"].mean()
    tasks = sorted({*rows["task_a"], *rows["task_b"]})
    matrix = pd.DataFrame(np.nan, index=tasks, columns=tasks)
    for (a, b), value in mean.items():
        matrix.loc[a, b] = matrix.loc[b, a] = value
    score = nearest_neighbour_score(matrix, family)
    return score.hits, score.p_value


def rand_indices(plan: SharingPlan) -> list[float]:
    """Adjusted Rand index of each layer's groups against the planted families."""
    truth = [family(task) for task in plan.tasks]
    return [
        float(adjusted_rand_score(truth, [groups.index(plan.group(layer, task)) for task in plan.tasks]))
        for layer, groups in enumerate(plan.layers)
    ]


def show(run: Path) -> dict[str, Any]:
    """Print one run's scores; returns the row for the summary."""
    meta = json.loads((run / "artefact.json").read_text(encoding="utf-8"))
    info = meta["info"]
    rows = pd.read_parquet(run / "interference.parquet")
    late = rows[rows["step"] > info["steps"] / 3]
    plan = SharingPlan.from_json(info["plan"])
    print(f"\n{run.name} (seed {info['seed']}, {meta['request']['method_settings']})")
    for step, check in rows.groupby("step"):
        layers = [hits(layer)[0] for _, layer in check.groupby("layer")]
        so_far = hits(rows[rows["step"] <= step])[0]
        print(f"  update {step}: {hits(check)[0]} by this check (layers {layers}), {so_far} by all so far")
    found, p_value = hits(late)
    last = hits(rows[rows["step"] == rows["step"].max()])[0]
    found_rand = rand_indices(plan)
    upper = len(found_rand) // 2
    drawn = [rand_indices(permuted(((0, plan),), seed)[0][1]) for seed in range(RANDOM_PLANS)]
    print(f"  after the first third: {found} of {len(plan.tasks)}, p = {p_value:.4f}")
    print(f"  adjusted Rand index by layer: {[round(value, 2) for value in found_rand]}")
    return {
        "run": run.name, "seed": info["seed"], "settings": str(meta["request"]["method_settings"]), "hits": found,
        "p": p_value, "last check": last, "ARI": np.mean(found_rand), "ARI upper": np.mean(found_rand[upper:]),
        "random ARI": np.mean(drawn), "random ARI upper": np.mean([d[upper:] for d in drawn]),
        "groups": plan.growth,
    }  # fmt: skip


def main() -> None:
    """Print every run and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--csv", type=Path, help="also write the summary")
    options = parser.parse_args()
    runs = [file.parent for file in sorted(options.workspace.glob("train-share/[!.]*/artefact.json"))]
    summary = pd.DataFrame([show(run) for run in runs])
    if options.csv:
        summary.round(4).to_csv(options.csv, index=False)
    print("\n" + summary.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
