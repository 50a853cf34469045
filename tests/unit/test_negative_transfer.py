"""The tasks of the negative-transfer benchmark, and its table, on small made-up rows."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.data.tasks import load_tasks

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def negative(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's script, which finds its neighbours as it does when it is run."""
    monkeypatch.syspath_prepend(SCRIPTS)
    import negative

    return negative


def definition() -> TaskDefinition:
    (found,) = load_tasks(()).select("sst2")
    return found


def test_partners_differ_in_their_labels_alone(negative: ModuleType, tmp_path: Path) -> None:
    downloaded, out = tmp_path / "downloaded", tmp_path / "out"
    downloaded.mkdir()
    out.mkdir()
    labels = ["negative", "positive"]
    for split, count in (("train", 400), ("dev", 250)):
        names = np.random.default_rng(0).permutation(np.array(labels * (count // 2)))
        rows = {"row": range(count), "text": [f"{split} text {n}" for n in range(count)], "text_pair": None}
        pd.DataFrame({**rows, "label": names}).to_parquet(downloaded / f"{split}.parquet", index=False)
    negative.make(definition(), labels, downloaded, out)
    found = {task: pd.read_parquet(out / f"sst2-{task}-train.parquet") for task in ("real", "placebo", "noise")}
    assert not set(found["real"]["text"]) & set(found["placebo"]["text"])
    assert len(found["real"]) == len(found["placebo"]) == 200
    assert found["noise"]["text"].equals(found["placebo"]["text"])
    same = (found["noise"]["label"] == found["placebo"]["label"]).mean()
    assert sorted(found["noise"]["label"]) == sorted(found["placebo"]["label"]) and 0.35 < same < 0.65
    truth = pd.read_parquet(downloaded / "train.parquet").set_index("text")["label"]
    for task in ("real", "placebo"):
        assert (found[task].set_index("text")["label"] == truth[found[task]["text"]]).all()
    assert len(pd.read_parquet(out / "sst2-real-dev.parquet")) == 250
    assert len(pd.read_parquet(out / "sst2-noise-dev.parquet")) == 200
    registry = load_tasks((out,))
    assert [task.name for task in registry.select("sst2-real,sst2-noise,sst2-placebo")] == [
        "sst2-real", "sst2-noise", "sst2-placebo"
    ]  # fmt: skip


def test_losses_are_paired_by_seed(negative: ModuleType) -> None:
    rows = [
        (method, seed, partner, value)
        for method, partner, values in (
            ("", "alone", (80.0, 90.0)),
            ("shared", "placebo", (82.0, 92.0)),
            ("shared", "noise", (70.0, 84.0)),
            ("private", "noise", (80.0, 89.0)),
        )
        for seed, value in enumerate(values)
    ]
    runs = pd.DataFrame(rows, columns=["method", "seed", "partner", "value"])
    runs = runs.assign(examples=100, overlap=np.nan, **{"by chance": np.nan})
    table = negative.loss_table(runs).set_index("method")
    assert table.loc["shared", "loss to alone"] == "8.00 ± 2.83"
    assert table.loc["shared", "loss to placebo"] == "10.00 ± 2.83"
    assert table.loc["private", "loss to alone"] == "0.50 ± 0.71"
    assert table.loc["private", "loss to placebo"] == "–"
