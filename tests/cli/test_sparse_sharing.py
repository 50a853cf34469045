"""The method sparse-sharing and the measure mask-overlap from the command line: what a run holds, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from adaptershare_cli import schemas
from tests.cli.conftest import TASKS, Share, call, good, only, refused

METHOD = ("--method", "sparse-sharing")
FAST = ("--rounds", "2", "--final-rate", "0.2", "--round-epochs", "0.4", "--multitask-warmup-epochs", "0.5")
OPTIONS = (*METHOD, *FAST)


@pytest.fixture(scope="module")
def runs(share: Share, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with pruned masks of adapters and the same masks drawn at random; tests read it only."""
    workspace = tmp_path_factory.mktemp("sparse") / "workspace"
    good(*share(workspace, *OPTIONS))
    good(*share(workspace, *METHOD, *FAST[-2:], "--masks", "random", "--mask-run", "sparse-sharing"))
    return workspace


def find(workspace: Path, masks: str) -> tuple[Path, dict[str, Any]]:
    """The run with this setting of --masks, and its record."""
    for file in workspace.glob("train-share/sparse-sharing-*/artefact.json"):
        info = json.loads(file.read_text())["info"]
        if info["settings"]["masks"] == masks:
            return file.parent, info
    raise AssertionError(masks)


def test_what_a_run_holds(runs: Path) -> None:
    run, info = find(runs, "pruned")
    for name, schema in (("masks", schemas.MASKS), ("pruning", schemas.PRUNING)):
        assert pq.read_schema(run / f"{name}.parquet").equals(schema)
    masks, pruning = (pd.read_parquet(run / f"{name}.parquet") for name in ("masks", "pruning"))
    assert masks["task"].tolist() == [task for task in TASKS for _ in range(4)]
    assert masks["layer"].tolist() == [0, 0, 1, 1] * 3 and masks["start"].nunique() == 1
    chosen = pruning[pruning["chosen"]].set_index("task")
    assert pruning.groupby("task").size().to_dict() == dict.fromkeys(TASKS, 3) and set(chosen.index) == set(TASKS)
    for task, own in masks.groupby("task"):
        assert own["kept"].sum() == chosen.loc[task, "kept"] and own["weights"].sum() == chosen.loc[task, "weights"]
        assert own["rate"].tolist() == (own["kept"] / own["weights"]).tolist()
        weights = load_file(run / "tasks" / str(task) / "adapter.safetensors")
        found = {f"{n.split('.')[2]}.{'up' if 'up' in n else 'down'}": t for n, t in weights.items() if t.dim() == 2}
        for row in own.itertuples():
            bits = np.unpackbits(np.frombuffer(row.bits, dtype=np.uint8), count=row.weights).reshape(row.shape)
            tensor = found[f"{row.layer}.{'up' if 'up' in row.tensor else 'down'}"].numpy()
            assert bits.sum() == row.kept and (tensor[bits == 0] == 0).all() and (tensor[bits == 1] != 0).all()
    steps = pd.read_parquet(run / "steps.parquet")
    assert steps["phase"].drop_duplicates().tolist() == [
        "warm-up", *(f"prune-{task}-{k}" for task in TASKS for k in range(3)), "main"
    ]  # fmt: skip
    counts = steps["task"].value_counts()
    for task, examples in info["examples"].items():  # a share of an odd number of updates is rounded
        assert abs(examples / 8 - counts[task]) <= 2
    assert info["steps"] == sum(info["examples"].values()) / 8


def test_costs_count_the_union_and_the_masks(runs: Path) -> None:
    run, info = find(runs, "random")
    masks = pd.read_parquet(run / "masks.parquet")
    union = 0
    for _, rows in masks.groupby("tensor"):
        union += int(
            np.bitwise_count(np.bitwise_or.reduce([np.frombuffer(b, dtype=np.uint8) for b in rows["bits"]])).sum()
        )
    weights = masks[masks["task"] == TASKS[0]]["weights"].sum()
    biases = sum(t.numel() for t in load_file(run / "tasks" / TASKS[0] / "adapter.safetensors").values()) - weights
    costs = info["costs"]
    assert costs["stored"] - costs["stored_heads"] == union + 3 * -(-weights // 32) + biases
    assert union < weights < costs["trained"]


def test_random_masks_have_the_same_rates_and_count_the_search(runs: Path) -> None:
    (pruned, searched), (drawn, info) = find(runs, "pruned"), find(runs, "random")
    ours, theirs = (pd.read_parquet(path / "masks.parquet") for path in (drawn, pruned))
    columns = ["task", "layer", "tensor", "kept", "start"]
    assert ours[columns].equals(theirs[columns]) and (ours["bits"] != theirs["bits"]).all()
    assert info["examples"] == searched["examples"] and info["mask_run"] == f"train-share/{pruned.name}"
    assert not (pd.read_parquet(drawn / "steps.parquet")["phase"].str.startswith("prune-")).any()


def test_given_masks(runs: Path, share: Share, tmp_path: Path) -> None:
    """The same masks again: with the same start and strict updates the very same run, leaky updates another."""
    workspace = Path(shutil.copytree(runs, tmp_path / "workspace"))
    pruned, searched = find(workspace, "pruned")
    given = (*METHOD, "--masks", "given", "--mask-run", "sparse-sharing")
    good(*share(workspace, *given, *FAST[-2:]))
    again, info = find(workspace, "given")
    for name in ("masks.parquet", "predictions.parquet", "tasks/first/adapter.safetensors"):
        assert (again / name).read_bytes() == (pruned / name).read_bytes()
    assert info["examples"] == searched["examples"]
    good(*share(workspace, *given, *FAST[-2:], "--updates", "leaky"))
    leaky = [path for path in workspace.glob("train-share/sparse-sharing-*") if path not in (pruned, again)]
    adapters = {(path / "tasks/first/adapter.safetensors").read_bytes() for path in (*leaky, again)}
    assert len(adapters) == 3  # random masks are among them
    refused(*share(workspace, *given), says=("pruned from other weights", "--multitask-warmup-epochs"))
    refused(*share(workspace, *given, "--prune", "encoder"), says=("are of --prune adapters",))
    # With another seed there is the one run all the same, but it began elsewhere.
    refused(*share(workspace, *given, *FAST[-2:], "--seed", "1"), says=("pruned from other weights", "--seed"))


def test_the_encoder_itself(share: Share, tmp_path: Path) -> None:
    good(*share(tmp_path / "w", *OPTIONS, "--prune", "encoder"))
    run, info = find(tmp_path / "w", "pruned")
    files = {path.name for path in (run / "tasks" / "first").iterdir()}
    assert files == {"README.md", "encoder.safetensors", "head.json", "head.safetensors"}
    weights = load_file(run / "tasks" / "first" / "encoder.safetensors")
    masks = pd.read_parquet(run / "masks.parquet")
    assert set(weights) == set(masks["tensor"]) and len(weights) == 12
    zeros = sum(int((tensor == 0).sum()) for tensor in weights.values())
    own = masks[masks["task"] == "first"]
    assert zeros == (own["weights"] - own["kept"]).sum() > 0
    assert info["precision"] == "fp32"
    start = (*share(tmp_path / "w", tasks="first"), "--from-run", run.name, "--init", "first")
    refused("train-single", *start[1:], says=("attend over several, or have none",))


def test_full_sharing_comes_out_the_same(share: Share, tmp_path: Path) -> None:
    good(*share(tmp_path / "w", *METHOD, "--masks", "ones", "--multitask-warmup-epochs", "0"))
    good(*share(tmp_path / "w", "--method", "shared", "--no-observe"))
    sparse, shared = (only(tmp_path / "w", f"train-share/{name}-*") for name in ("sparse-sharing", "shared"))
    for name in ("steps", "metrics", "predictions"):
        assert (sparse / f"{name}.parquet").read_bytes() == (shared / f"{name}.parquet").read_bytes()
    for task in TASKS:
        for path in (sparse / "tasks" / task).iterdir():
            assert path.read_bytes() == (shared / "tasks" / task / path.name).read_bytes()
    good("report", "-w", tmp_path / "w")
    table = (tmp_path / "w" / "report" / "report.md").read_text()
    assert table.count("## ") == 1 and "| sparse-sharing |" in table and "| shared |" in table  # comparable


def test_a_share_of_the_updates_makes_runs_comparable(share: Share, tmp_path: Path) -> None:
    long = ("--max-steps", "60", "--task-sampling", "uniform")
    good(*share(tmp_path / "w", *METHOD, "--rounds", "2", "--search-share", "0.5", *long))
    good(*share(tmp_path / "w", "--method", "shared", "--no-observe", *long))
    # So are the baselines: they leave out what was searched for, and count it.
    for masks in ("given", "random"):
        good(*share(tmp_path / "w", *METHOD, "--masks", masks, "--mask-run", "sparse*", "--search-share", "0.5", *long))
    infos = [json.loads(path.read_text())["info"] for path in tmp_path.glob("w/train-share/*/artefact.json")]
    assert [info["examples"] for info in infos] == [dict.fromkeys(TASKS, 20 * 8)] * 4
    given, pruned = (find(tmp_path / "w", masks)[0] for masks in ("given", "pruned"))
    assert (given / "predictions.parquet").read_bytes() == (pruned / "predictions.parquet").read_bytes()


def test_overlap_of_runs(runs: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(runs, tmp_path / "workspace"))
    for masks in ("pruned", "random"):
        run, info = find(workspace, masks)
        said = good("correlate", "-w", workspace, "--run", run.name, "--measure", "mask-overlap").stdout
        where = next(path for path in workspace.glob("correlate/mask-overlap-*/artefact.json")
                     if json.loads(path.read_text())["info"]["runs"] == [f"train-share/{run.name}"]).parent  # fmt: skip
        assert pq.read_schema(where / "overlap.parquet").equals(schemas.OVERLAP)
        overlap = pd.read_parquet(where / "overlap.parquet")
        table = pd.read_parquet(where / "correlation.parquet")
        values = table[table["seed"].isna()].set_index(["layer", "source", "target"])["value"]
        assert len(overlap) == 4 * 3 and len(values) == 3 * 6
        bits = {
            key: np.concatenate([np.unpackbits(np.frombuffer(b, dtype=np.uint8)) for b in rows["bits"]]).astype(bool)
            for key, rows in pd.read_parquet(run / "masks.parquet").groupby(["layer", "task"])
        }
        for row in overlap.itertuples():
            layers = [0, 1] if row.layer == -1 else [row.layer]
            own = [np.concatenate([bits[layer, task] for layer in layers]) for task in row.tasks]
            assert row.intersection == np.logical_and.reduce(own).sum()
            assert row.union == np.logical_or.reduce(own).sum()
            assert row.ratio == row.intersection / row.union
            rates = [mask.sum() / row.weights for mask in own]
            assert row.expected == pytest.approx(np.prod(rates) / (1 - np.prod([1 - rate for rate in rates])))
            if not row.all_tasks:
                assert values[row.layer, row.tasks[0], row.tasks[1]] == pytest.approx(row.ratio)
                assert values[row.layer, row.tasks[1], row.tasks[0]] == pytest.approx(row.ratio)
        whole = overlap[overlap["all_tasks"] & (overlap["layer"] == -1)].iloc[0]
        assert f"overlap {whole['ratio']:.3f}, of random masks {whole['expected']:.3f}" in said
        again = good("correlate", "-w", workspace, "--run", run.name, "--measure", "mask-overlap").stdout
        assert f"overlap {whole['ratio']:.3f}, of random masks" in again  # what is kept says it again


def test_overlap_needs_masks(trained: Path) -> None:
    says = ("has no masks", "--method sparse-sharing")
    refused("correlate", "-w", trained, "--measure", "mask-overlap", says=says)


def test_what_is_refused(share: Share, tmp_path: Path) -> None:
    for options, says in (
        (("--masks", "random"), "--mask-run"),
        (("--masks", "given", "--mask-run", "nothing"), "No run matches 'nothing'"),
        (("--masks", "ones", "--rounds", "3"), "--rounds belongs to --masks pruned"),
        (("--masks", "ones", "--rounds", "8"), "--rounds belongs to --masks pruned"),  # the default, but it was given
        (("--prune", "encoder", "--adapter-config", "seq_bn"), "--adapter-config seq_bn has no effect"),
        (("--final-rate", "1.5"), "--final-rate must be between"),
        (("--mask-round", "9"), "later than the last of --rounds 8"),
        (("--prune", "encoder", "--reduction-factor", "4"), "--reduction-factor 4 has no effect"),
        (("--prune", "encoder", "--precision", "bf16"), "--precision bf16 is for frozen weights"),
        (("--prune", "encoder", "--mask-unit", "neuron"), "--mask-unit neuron belongs to --prune adapters"),
        (("--check-every", "3"), "sparse-sharing does not know --check-every"),
        (("--rounds", "2", "--search-share", "0.5"), "Nothing is left of task"),
        (("--optim", "adamax"), "--updates strict counts"),
    ):
        refused(*share(tmp_path / "w", *METHOD, *options), says=(says,))
    refused(*share(tmp_path / "w", "--method", "shared", "--rounds", "3"), says=("shared does not know --rounds",))
    over = ("--method", "adapterfusion", "--fusion-over", "sparse-sharing")
    refused(*share(tmp_path / "w", *over), says=("cannot be made from here",))


def test_runs_of_other_tasks_or_methods_have_no_masks(runs: Path, share: Share, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(runs, tmp_path / "workspace"))
    good(*share(workspace, "--method", "shared", "--no-observe"))
    given = (*METHOD, "--masks", "random", "--mask-run")
    refused(*share(workspace, *given, "shared"), says=("has masks of its own",))
    # A part of a run's tasks may take its masks.
    assert call(*share(workspace, *given, "sparse-sharing", tasks="first,second")).exit_code == 0
