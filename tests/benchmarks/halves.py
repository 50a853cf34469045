"""Planted structure: cut data sets into two disjoint halves and enter each half as a task of its own.

    python tests/benchmarks/halves.py --tasks sst2,qqp --from FOLDER --out halves
    adaptershare train-share --task-dir halves --from halves --tasks "*-a,*-b" …

The halves of one set are alike in everything; a measure of relatedness must find them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.tasks import load_tasks
from adaptershare_cli.seeds import derive_seed


def write_task(
    name: str, about: str, definition: TaskDefinition, labels: list[str], splits: dict[str, pd.DataFrame], out: Path
) -> None:
    """A task `name` like `definition`, with its rows (columns text, perhaps text_pair, label) as Parquet files."""
    for split, table in splits.items():
        table.to_parquet(out / f"{name}-{split}.parquet", index=False)
    columns = [column for column in ("text", "text_pair", "label") if column in splits["train"]]
    text = {
        "kind": definition.kind,
        "description": about,
        "metrics": list(definition.metrics),
        "report_on": [split for split in splits if split != "train"],
        "files": {
            "reader": "parquet",
            "splits": {split: f"{name}-{split}.parquet" for split in splits},
            "columns": {column: column for column in columns},
        },
    }
    if definition.kind == "regression":
        text["range"] = list(definition.range or ())
    else:
        text["labels"] = labels
    (out / f"{name}.yaml").write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")


def rows_of(definition: TaskDefinition, downloaded: Path) -> dict[str, pd.DataFrame]:
    """A downloaded task's rows by split: train and those that are scored."""
    scored = [split for split in definition.report_on if (downloaded / f"{split}.parquet").exists()]
    return {
        split: pd.read_parquet(downloaded / f"{split}.parquet").drop(columns="row").dropna(axis=1, how="all")
        for split in ("train", *scored)
    }


def halved(table: pd.DataFrame, *purpose: str) -> dict[str, pd.DataFrame]:
    """Two disjoint halves `a` and `b` of the rows, drawn at random, each in the table's order."""
    order = np.random.default_rng(derive_seed(0, "halves", *purpose)).permutation(len(table))
    return {half: table.iloc[np.sort(order[start::2])] for start, half in enumerate("ab")}


def write_halves(definition: TaskDefinition, labels: list[str], downloaded: Path, out: Path) -> None:
    """Two definitions `<task>-a` and `<task>-b` with their Parquet files: every row of each split in one of them."""
    cut = {split: halved(table, definition.name, split) for split, table in rows_of(definition, downloaded).items()}
    for half in "ab":
        name = f"{definition.name}-{half}"
        own = {split: parts[half] for split, parts in cut.items()}
        write_task(name, f"Half {half} of {definition.name}", definition, labels, own, out)


def fetch(tasks: str, source: str, workspace: Path) -> dict[str, dict[str, Any]]:
    """Download the tasks; for each the artefact's record in the command's JSON summary."""
    command = [sys.executable, "-m", "adaptershare_cli", "download", "--json", "--tasks", tasks]
    command += ["--from", source, "--workspace", str(workspace)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {artefact["info"]["task"]: artefact for artefact in found["artefacts"]}


def main() -> None:
    """Download the tasks into a workspace and write their halves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    options = parser.parse_args()
    artefacts = fetch(options.tasks, options.source, options.workspace)
    options.out.mkdir(parents=True, exist_ok=True)
    for definition in load_tasks(()).select(options.tasks):
        artefact = artefacts[definition.name]
        write_halves(definition, artefact["info"]["labels"], Path(artefact["path"]), options.out)


if __name__ == "__main__":
    main()
