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

import numpy as np
import pandas as pd
import yaml

from adaptershare_cli.data.tasks import TaskDefinition, load_tasks
from adaptershare_cli.seeds import derive_seed


def write_halves(definition: TaskDefinition, labels: list[str], downloaded: Path, out: Path) -> None:
    """Two definitions `<task>-a` and `<task>-b` with their Parquet files: every row of each split in one of them."""
    scored = [split for split in definition.report_on if (downloaded / f"{split}.parquet").exists()]
    for split in ("train", *scored):
        table = pd.read_parquet(downloaded / f"{split}.parquet").drop(columns="row").dropna(axis=1, how="all")
        order = np.random.default_rng(derive_seed(0, "halves", definition.name, split)).permutation(len(table))
        for half, rows in (("a", order[::2]), ("b", order[1::2])):
            table.iloc[np.sort(rows)].to_parquet(out / f"{definition.name}-{half}-{split}.parquet", index=False)
    for half in "ab":
        name = f"{definition.name}-{half}"
        columns = {"text": "text", "label": "label"}
        if "text_pair" in table:
            columns["text_pair"] = "text_pair"
        text = {
            "kind": definition.kind,
            "description": f"Half {half} of {definition.name}",
            "metrics": list(definition.metrics),
            "report_on": scored,
            "files": {
                "reader": "parquet",
                "splits": {split: f"{name}-{split}.parquet" for split in ("train", *scored)},
                "columns": columns,
            },
        }
        if definition.kind == "regression":
            text["range"] = list(definition.range or ())
        else:
            text["labels"] = labels
        (out / f"{name}.yaml").write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")


def main() -> None:
    """Download the tasks into a workspace and write their halves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    options = parser.parse_args()
    command = [sys.executable, "-m", "adaptershare_cli", "download", "--json", "--tasks", options.tasks]
    command += ["--from", options.source, "--workspace", str(options.workspace)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    artefacts = {artefact["info"]["task"]: artefact for artefact in found["artefacts"]}
    options.out.mkdir(parents=True, exist_ok=True)
    for definition in load_tasks(()).select(options.tasks):
        artefact = artefacts[definition.name]
        write_halves(definition, artefact["info"]["labels"], Path(artefact["path"]), options.out)


if __name__ == "__main__":
    main()
