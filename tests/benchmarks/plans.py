"""Plan search against what it must beat, paired by seed; and what the other seeds say of each seed's plan.

    python tests/benchmarks/plans.py --workspace workspace/plans-truth [--verdicts 40] [--csv FILE]

A Markdown row a method: its mean score over tasks on scored rows, how much plan search is above it (95 % interval
over the seeds that both have, Student's t), and the task trainings that it took. With `--verdicts N` each seed's plan
is then trained with all other seeds beside N random plans of its sizes (`correlate --verdict`). `--csv` keeps the
scores of every seed, those of earlier sittings in the file too: the table is made of all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from compare import read_metas, read_runs  # it lies beside this file
from scipy.stats import t

SEARCH = "plan-search"
KEYS = ["suite", "variant", "seed"]


def scores(workspace: Path) -> pd.DataFrame:
    """A row a method and seed: mean over tasks of the main score, on select and on scored rows, and trainings spent."""
    runs = read_runs(workspace)
    runs = runs[~runs["variant"].str.startswith(("train-single", "single"))]
    metas = read_metas(workspace)
    begun = {source["artefact"].rpartition("/")[2] for meta in metas.values() for source in meta["inputs"]}
    runs = runs[~runs["run"].isin(begun)]  # what another method began with is no run of its own
    spent = {folder.name: trainings(meta["info"]) for folder, meta in metas.items()}
    found = runs.groupby(["variant", "seed", "run", "part"])["value"].mean().unstack("part").reset_index()
    found = found.assign(trainings=found["run"].map(spent))
    found = pd.concat([found, apart(workspace)]).assign(suite=workspace.name.removeprefix("plans-"))
    return found[[*KEYS, "select", "scored", "trainings"]].round(3).drop_duplicates(KEYS, keep="last")


def apart(workspace: Path) -> pd.DataFrame:
    """Each task alone, from the trainings that the searches began with."""
    rows = []
    for folder, meta in read_metas(workspace).items():
        if meta["info"]["method"] != SEARCH:
            continue
        groups = pd.read_parquet(folder / "groups.parquet")
        alone = groups[groups["group"].map(len) == 1]
        metrics = [pd.read_parquet(workspace / run / "metrics.parquet") for run in alone["run"]]
        final = pd.concat(metrics).query("final and main")
        values = 100 * final["value"].fillna(0.0)
        parts = {"select": final["split"] == "select", "scored": final["split"] != "select"}
        means = {name: values[chosen].groupby(final["task"][chosen]).mean().mean() for name, chosen in parts.items()}
        rows.append({"variant": "each alone", "seed": meta["info"]["seed"], **means, "trainings": len(alone)})
    return pd.DataFrame(rows)


def trainings(info: dict) -> int:
    """Task trainings behind a run: those that it counted, or one of each task."""
    return info.get("start", {}).get("task_trainings") or info.get("task_trainings") or len(info["tasks"])


def table(found: pd.DataFrame) -> list[str]:
    """The Markdown table of a suite, the best method first."""
    values = found.pivot(index="seed", columns="variant", values="scored")
    searches = [name for name in values if name == SEARCH]
    lines = [f"| method | seeds | scored | {SEARCH} above it | task trainings |", "|---|--:|--:|--:|--:|"]
    for name in values.mean().sort_values(ascending=False).index:
        above = ""
        if searches and name != SEARCH:
            gains = (values[SEARCH] - values[name]).dropna().to_numpy()
            above = interval(gains)
        spent = found[found["variant"] == name]["trainings"].mean()
        known = values[name].dropna()
        lines.append(f"| {name} | {len(known)} | {known.mean():.2f} | {above} | {spent:.0f} |")
    return lines


def interval(gains: np.ndarray) -> str:
    """A mean with its 95 % interval by Student's t, where there are two or more."""
    if len(gains) < 2:
        return "".join(f"{gain:+.2f}" for gain in gains)
    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
    return f"{gains.mean():+.2f} [{gains.mean() - half:+.2f}, {gains.mean() + half:+.2f}]"


def judge(workspace: Path, random_plans: int) -> None:
    """Have each seed's plan judged by the other seeds."""
    found = {
        meta["info"]["seed"]: folder.name
        for folder, meta in read_metas(workspace).items()
        if meta["info"]["method"] == SEARCH and not meta["request"]["method_settings"]
    }
    for seed, name in found.items():
        others = ",".join(str(other) for other in sorted(found) if other != seed)
        if others:
            options = ["--verdict", "--run", name, "--seeds", others, "--random-plans", str(random_plans)]
            command = [sys.executable, "-m", "adaptershare_cli", "correlate", *options, "-w", str(workspace)]
            subprocess.run(command, check=True)


def verdicts(workspace: Path) -> list[str]:
    """The Markdown table of the verdicts in a workspace."""
    lines = ["| plan | seeds | value | above all shared | above all apart | percentile of random | answer |"]
    lines.append("|---|--:|--:|--:|--:|--:|---|")
    for file in sorted(workspace.glob("correlate/verdict-*/artefact.json")):
        info = json.loads(file.read_text(encoding="utf-8"))["info"]
        beside = [info["differences"].get(name) for name in ("shared", "private")]
        words = [
            f"{100 * d['gain']:+.2f} [{100 * d['low']:+.2f}, {100 * d['high']:+.2f}]" if d else "itself" for d in beside
        ]
        random = info["random"]
        among = "" if random["percentile"] is None else f"{random['percentile']:.0f} of {random['same sizes']}"
        plan = ", ".join("+".join(group) for group in info["plan"] if len(group) > 1) or "all apart"
        cells = [plan, str(len(info["seeds"])), f"{100 * info['value']:.2f}", *words, among, info["answer"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--verdicts", type=int, default=0, help="random plans beside each seed's plan; 0: no verdicts")
    parser.add_argument("--csv", type=Path, help="file of scores to read, add to and write")
    options = parser.parse_args()
    found = scores(options.workspace)
    if options.csv:
        before = pd.read_csv(options.csv) if options.csv.exists() else found.iloc[:0]
        found = pd.concat([before, found]).drop_duplicates(KEYS, keep="last").sort_values(KEYS)
        found.to_csv(options.csv, index=False)
    for suite, rows in found.groupby("suite"):
        print(f"\n{suite}\n", *table(rows), sep="\n")
    if options.verdicts:
        judge(options.workspace, options.verdicts)
        print("", *verdicts(options.workspace), sep="\n")


if __name__ == "__main__":
    main()
