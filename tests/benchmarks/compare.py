"""Compare the runs of a workspace: averages over tasks and seeds, paired bootstrap against a baseline, costs.

    python tests/benchmarks/compare.py --workspace workspace/small --baseline shared [--csv FILE]

Runs of one method with equal settings are its seeds. The bootstrap draws tasks and seeds with replacement, the same
for both sides; choices are to be made by the select column alone.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adaptershare_cli.measures.mask_overlap import overlap_rows
from adaptershare_cli.schemas import ALL_LAYERS
from adaptershare_cli.settings import TrainingSettings

DRAWS = 10_000
DEFAULT = TrainingSettings().learning_rate
Meta = dict[str, Any]  # an artefact.json


def read_metas(workspace: Path) -> dict[Path, Meta]:
    """The artefact.json of every training, by its folder."""
    files = [*workspace.glob("train-share/[!.]*/artefact.json"), *workspace.glob("train-single/[!.]*/artefact.json")]
    return {file.parent: json.loads(file.read_text(encoding="utf-8")) for file in sorted(files)}


def common_settings(metas: Iterable[Meta]) -> dict[str, Any]:
    """Learning rate and interval of checks of most trainings: what is not told of each."""
    requests = [meta["request"] for meta in metas]
    intervals = [request["method_settings"].get("check_every") for request in requests]
    found = {
        "learning_rate": Counter(request["training"].get("learning_rate", DEFAULT) for request in requests),
        "check_every": Counter(interval for interval in intervals if interval is not None),
    }
    return {name: counts.most_common(1)[0][0] for name, counts in found.items() if counts}


def variants(metas: dict[Path, Meta]) -> dict[Path, str]:
    """A name for each training: its method and settings, without those of most trainings where that is clear enough."""
    common = common_settings(metas.values())
    whole = {folder: variant(meta, {}) for folder, meta in metas.items()}
    short = {folder: variant(meta, common) for folder, meta in metas.items()}
    meanings = {name: {whole[folder] for folder in short if short[folder] == name} for name in short.values()}
    return {folder: name if len(meanings[name]) == 1 else whole[folder] for folder, name in short.items()}


def variant(meta: Meta, common: dict[str, Any]) -> str:
    """The method, and the settings of it that are neither defaults nor `common`."""
    info, request = meta["info"], meta["request"]
    if info["method"] == "single":
        return f"train-single ({info['steps']} updates)"
    settings = {"learning_rate": request["training"].get("learning_rate", DEFAULT), **request["method_settings"]}
    if request.get("fusion_over", "train-single") != "train-single":
        settings["fusion_over"] = request["fusion_over"]
    if request["training"].get("encoder_dropout"):
        settings["encoder_dropout"] = True
    told = {name: value for name, value in sorted(settings.items()) if common.get(name) != value}
    return " ".join([info["method"], *(f"({name.replace('_', '-')} {value})" for name, value in told.items())])


def costs(info: dict[str, Any], task: str) -> dict[str, float]:
    """Stored parameters, and multiply-adds beyond the encoder's in percent of these; NaN for older runs."""
    if "costs" not in info:
        return {"stored": np.nan, "inference": np.nan}
    work = info["costs"]["tasks"][task]
    more = work["multiply_adds"] / work["encoder_multiply_adds"] - 1
    return {"stored": info["costs"]["stored"], "inference": 100 * more}


def overlaps(run: Path, tasks: list[str]) -> dict[str, float]:
    """Overlap of two tasks' masks (mean over pairs), and that of random masks of the same rates; NaN where none are."""
    if not (run / "masks.parquet").exists():
        return {"overlap": np.nan, "by chance": np.nan}
    rows = overlap_rows(pd.read_parquet(run / "masks.parquet"), tasks)
    pairs = [row for row in rows if not row["all_tasks"] and row["layer"] == ALL_LAYERS]
    return {name: np.mean([row[of] for row in pairs]) for name, of in (("overlap", "ratio"), ("by chance", "expected"))}


def known(value: float, how: str) -> str:
    """A number as `how` writes it; "" for NaN."""
    return how.format(value) if pd.notna(value) else ""


def bracketed(overlap: float, chance: float) -> str:
    """An overlap, and what is expected of random masks; "" where there are none."""
    return f"{overlap:.2f} [{chance:.2f}]" if pd.notna(overlap) else ""


def read_runs(workspace: Path) -> pd.DataFrame:
    """One row a run, task and part (select, scored): the main score in percent (the mean over scored splits), groups
    a layer, overlap of masks, costs."""
    rows, metas = [], read_metas(workspace)
    names = variants(metas)
    for folder, meta in metas.items():
        info = meta["info"]
        metrics = pd.read_parquet(folder / "metrics.parquet")
        metrics = metrics[metrics["final"] & metrics["main"]]
        shared = overlaps(folder, info["tasks"])
        layers = info["plan"]["layers"] if info["plan"] and folder.parent.name == "train-share" else []
        groups = np.mean([len(groups) for groups in layers]) if layers else np.nan
        timing = json.loads((folder / "timing.json").read_text(encoding="utf-8"))
        for (task, selected), part in metrics.groupby(["task", metrics["split"] == "select"]):
            rows.append(
                {
                    "variant": names[folder], "seed": info["seed"], "task": task,
                    "part": "select" if selected else "scored", "value": 100 * part["value"].fillna(0.0).mean(),
                    "groups": groups, "parameters": info["trained_parameters"], **costs(info, task),
                    "seconds": timing["training_seconds"], "saving": timing.get("checkpoint_seconds", np.nan),
                    "examples": info["examples"][task], "run": folder.name, **shared,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def whole_system(runs: pd.DataFrame, columns: list[str]) -> pd.Series:
    """What the runs of a seed cost together (train-single has one a task), mean over seeds."""
    once = runs.drop_duplicates(["seed", "run"])
    return once.groupby("seed")[columns].sum(min_count=1).mean()


def paired_bootstrap(difference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of differences (seeds, tasks) when seeds and tasks are drawn with replacement."""
    generator = np.random.default_rng(seed)
    seeds, tasks = difference.shape
    drawn = [
        difference[generator.integers(seeds, size=seeds)][:, generator.integers(tasks, size=tasks)].mean()
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def table(runs: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row a variant; the difference is to the baseline over the seeds that both have."""
    scored = runs[runs["part"] == "scored"].pivot_table(index=["variant", "seed"], columns="task", values="value")
    select = runs[runs["part"] == "select"].groupby(["variant", "seed"])["value"].mean()
    rows = []
    for name in dict.fromkeys(runs["variant"]):
        mine, own = scored.loc[name], runs[runs["variant"] == name]
        total = whole_system(own, ["parameters", "stored", "seconds", "saving"])
        row = {
            "variant": name, "seeds": len(mine), "select": f"{select.loc[name].mean():.2f}",
            "scored": f"{mine.mean(axis=1).mean():.2f}",
            "sd": f"{mine.mean(axis=1).std():.2f}" if len(mine) > 1 else "",
            "groups": known(own["groups"].mean(), "{:.2f}"),
            "overlap [by chance]": bracketed(*own[["overlap", "by chance"]].mean()),
            "examples": f"{own['examples'].mean():,.0f}",
            "parameters": f"{total['parameters']:,.0f}", "stored": known(total["stored"], "{:,.0f}"),
            "inference": known(own["inference"].mean(), "{:+.2f} %"), "seconds": f"{total['seconds']:,.0f}",
            "saving": known(100 * total["saving"] / total["seconds"], "{:.2f} %"),
        }  # fmt: skip
        if name != baseline and baseline in scored.index:
            both = mine.index.intersection(scored.loc[baseline].index)
            if len(both):
                difference = (mine.loc[both] - scored.loc[baseline].loc[both]).to_numpy()
                low, high = paired_bootstrap(difference)
                row["difference"] = f"{difference.mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        row |= {task: f"{value:.1f}" for task, value in mine.mean().items()}
        rows.append(row)
    found = pd.DataFrame(rows).fillna("")
    return found.loc[:, (found != "").any()]


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--baseline", default="shared")
    parser.add_argument("--csv", type=Path, help="also write every run's scores, a task a column")
    options = parser.parse_args()
    runs = read_runs(options.workspace)
    if options.csv:
        index = ["variant", "seed", "part"]
        once = runs.drop_duplicates([*index, "run"]).groupby(index).agg({"groups": "mean", "parameters": "sum"})
        wide = once.join(runs.pivot_table(index=index, columns="task", values="value"))
        wide.round(2).to_csv(options.csv)
    frame = table(runs, options.baseline)
    print("| " + " | ".join(frame.columns) + " |")
    print("|" + "---|" * len(frame.columns))
    for row in frame.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
