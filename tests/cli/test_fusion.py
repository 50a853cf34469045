"""AdapterFusion and starting from an earlier run, from the command line: which adapters, which rows, which refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from adaptershare_cli.store.workspace import Artefact, Workspace
from tests.cli.conftest import (
    SPLITTING,
    TASKS,
    Share,
    call,
    good,
    hashed,
    interrupt_at,
    kept,
    made,
    only,
    refused,
    snapshot,
    stages,
    without,
)

FUSION = ("--method", "adapterfusion", "--max-steps", "24", "--fusion-learning-rate", "0.01")


def over_trained(share: Share, workspace: Path, *more: Any, **options: Any) -> tuple[Any, ...]:
    """The arguments of AdapterFusion over adapters that are there: no --learning-rate, which is that of stage one."""
    return without(share(workspace, *FUSION, *more, **options), "--learning-rate")


@pytest.fixture(scope="session")
def attending(share: Share, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with an adapterfusion run beside the adaptershare run; tests read it only."""
    workspace = Path(shutil.copytree(trained, tmp_path_factory.mktemp("attending") / "workspace"))
    result = good(*share(workspace, *FUSION))
    assert stages(made(result.stdout)) == ["train-single"] * 3 + ["train-share"]
    assert "Attention, seed 0" in result.stdout
    return workspace


@pytest.fixture
def own(attending: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(attending, tmp_path / "workspace"))


def runs(workspace: Path, stage: str = "train-share") -> dict[str, Artefact]:
    return {artefact.name: artefact for artefact in Workspace(workspace).artefacts(stage)}


def single(share: Share, workspace: Path, *more: Any, tasks: str = "first,second,score") -> tuple[Any, ...]:
    """The arguments of a quick train-single."""
    return ("train-single", *share(workspace, *more, tasks=tasks)[1:])


def test_the_measure_fusion_says_what_the_table_does(own: Path) -> None:
    run = runs(own)["adapterfusion"]
    good("correlate", "-w", own, "--run", run.path.name, "--measure", "fusion")
    (found,) = [artefact for artefact in Workspace(own).artefacts("correlate") if artefact.name == "fusion"]
    values = (
        found.table("correlation.parquet").to_pandas().query("seed.isna()").set_index(["layer", "source", "target"])
    )
    attention = run.table("attention.parquet").to_pandas().set_index(["layer", "adapter", "task"])["attention"]
    layers = sorted(set(attention.index.get_level_values("layer")))
    assert found.info["directed"] and sorted(set(values.index.get_level_values("layer"))) == [-1, *layers]
    for source in TASKS:
        for target in TASKS:
            if source != target:
                each = [attention[layer, source, target] for layer in layers]
                assert [values["value"][layer, source, target] for layer in layers] == pytest.approx(each)
                assert values["value"][-1, source, target] == pytest.approx(sum(each) / len(each))
    other = runs(own)["adaptershare"].path.name
    refused("correlate", "-w", own, "--run", other, "--measure", "fusion", says=("has no attention", "--fuse"))


# ------------------------------------------------------------------------------------------------------------ stage one


def test_both_stages_together_see_as_many_rows_as_another_method(share: Share, own: Path) -> None:
    good(*share(own, "--method", "shared", "--max-steps", "24"))
    found, singles = runs(own), runs(own, "train-single")
    fusion = found["adapterfusion"]
    assert fusion.info["examples"] == found["shared"].info["examples"]
    steps = fusion.table("steps.parquet").to_pandas().groupby("task").size()
    for task in TASKS:
        assert steps[task] * 8 + singles[task].info["examples"][task] == fusion.info["examples"][task]
        assert abs(steps[task] - singles[task].info["steps"]) <= 1
    good("report", "-w", own)
    results = pd.read_parquet(own / "report" / "results.parquet")
    together = results[results["method"] == "shared"]["comparison"].unique()
    assert results[results["method"] == "adapterfusion"]["comparison"].unique().tolist() == together.tolist()
    trained = sum(run.info["trained_parameters"] for run in singles.values())
    assert fusion.info["trained_parameters"] == trained + 3 * 2 * (3 * 32**2 + 2 * 32) + 3 * 33 + 33 * 3
    assert results[results["method"] == "adapterfusion"]["trained_parameters"].unique() == [trained + 19_014]


def test_stage_one_is_what_train_single_makes_with_the_same_seed_and_settings(share: Share, attending: Path) -> None:
    fusion, singles = runs(attending)["adapterfusion"], runs(attending, "train-single")
    inputs = [item["artefact"] for item in fusion.meta["inputs"]]
    assert sorted(inputs) == sorted(run.label for run in [*runs(attending, "prepro").values(), *singles.values()])
    assert fusion.info["stage_one"] == [singles[task].label for task in TASKS]
    for task, run in singles.items():
        steps = run.info["steps"]
        result = good(*single(share, attending, "--max-steps", str(steps), tasks=task))
        assert "Nothing to do" in result.stdout and run.label in kept(result.stdout)
    weights = only(attending, "train-share/adapterfusion-*/tasks/second/adapters/score/adapter.safetensors")
    theirs = only(attending, "train-single/score-*/tasks/score/adapter.safetensors")
    assert weights.read_bytes() == theirs.read_bytes()


def test_runs_of_other_seeds_and_settings_are_not_mixed_in(share: Share, own: Path) -> None:
    steps = {task: run.info["steps"] for task, run in runs(own, "train-single").items()}
    for task, count in steps.items():
        good(*single(share, own, "--max-steps", str(count), "--weight-decay", "0.1", tasks=task))
        good(*single(share, own, "--max-steps", str(count), "--seed", "1", tasks=task))
    result = good(*share(own, *FUSION))
    assert "Nothing to do" in result.stdout  # newer runs are there, and change nothing
    result = good(*share(own, *FUSION, "--seeds", "0,1"))
    assert stages(made(result.stdout)) == ["train-share"]
    found = [run for run in Workspace(own).artefacts("train-share") if run.name == "adapterfusion"]
    assert sorted(run.info["seed"] for run in found) == [0, 1]
    everything = {run.label: run for run in Workspace(own).artefacts("train-single")}
    for run in found:
        used = [everything[label] for label in run.info["stage_one"]]
        assert {part.info["seed"] for part in used} == {run.info["seed"]}
        assert {part.info["training"]["weight_decay"] for part in used} == {0.0}
    good("report", "-w", own)
    results = pd.read_parquet(own / "report" / "results.parquet")
    assert results[results["method"] == "adapterfusion"]["key"].nunique() == 1  # seeds of one row
    result = good(*share(own, *FUSION, "--weight-decay", "0.1"))
    assert stages(made(result.stdout)) == ["train-share"]  # its stage one was there


def test_rows_of_another_tasks_scored_split_are_not_trained_on_in_stage_one(
    share: Share, own_project: Path, tmp_path: Path
) -> None:
    lines = (own_project / "data/set/first-dev.csv").read_text().splitlines()[1:4]
    with (own_project / "data/set/second-train.csv").open("a") as file:
        file.writelines(f"{line.rsplit(',', 1)[0]},a\n" for line in lines)
    good(*share(tmp_path / "w", *FUSION, root=own_project))
    singles = runs(tmp_path / "w", "train-single")
    assert {task: run.info["leaked_rows"][task] for task, run in singles.items()} == {
        "first": 0,
        "second": 3,
        "score": 0,
    }
    assert runs(tmp_path / "w")["adapterfusion"].info["leaked_rows"]["second"] == 3
    assert {task: "avoid" in run.meta["request"] for task, run in singles.items()} == {
        "first": False,
        "second": True,
        "score": False,
    }
    arguments = share(tmp_path / "w", *FUSION, "--leak-scope", "task", root=own_project)
    good(*arguments)
    assert runs(tmp_path / "w", "train-single")["second"].info["leaked_rows"]["second"] == 0


def test_shares_of_the_stages(share: Share, own: Path) -> None:
    good(*share(own, *FUSION, "--stage-one-share", "1", "--stage-two-share", "0.25"))
    fusion, joint = runs(own)["adapterfusion"], good(*share(own, "--method", "shared", "--max-steps", "24"))
    assert joint.exit_code == 0
    for task, rows in runs(own)["shared"].info["examples"].items():
        assert runs(own, "train-single")[task].info["examples"][task] == rows
        assert fusion.info["examples"][task] == rows + 8 * round(rows / 8 / 4)
    before = snapshot(own)
    refused(*share(own, *FUSION, "--stage-one-share", "1"), says=("stage two", "--stage-two-share", "first"))
    refused(*share(own, *FUSION, "--stage-one-share", "0"), says=("--stage-one-share must be", "0.001"))
    refused(*share(own, *FUSION, "--max-steps", "3"), says=("Nothing is left for stage",))
    assert snapshot(own) == before


def test_the_papers_preset(share: Share, attending: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def fake(context: Any, definitions: Any, method: str, options: dict, seeds: list[int]) -> list:
        seen.update(training=context.training, options=options)
        return []

    monkeypatch.setattr("adaptershare_cli.commands.train_share.train_share", fake)
    base = ("train-share", "-t", "first,second,score", *share(attending)[3:7], "-w", attending)
    base = (*base, "--method", "adapterfusion", "--preset", "adapterfusion-paper")
    good(*base, "--warmup-ratio", "0.2")
    training, options = seen["training"], seen["options"]
    assert (training.learning_rate, training.num_train_epochs, training.warmup_ratio) == (1e-4, 30, 0.2)
    assert training.encoder_dropout and training.load_best_model_at_end and training.reduction_factor == 16
    assert options == {"fusion_learning_rate": 5e-5, "stage_one_share": 1.0, "stage_two_share": 1 / 3}
    good(*base, "--fusion-over", "private")
    assert seen["training"].learning_rate == 1e-4 and seen["options"]["stage_one_share"] == 1.0
    for given in (("--adapters", "x"), ("--fusion-over", "adaptershare-1234")):
        good(*base, *given)  # no stage one, so none of its values
        assert seen["training"].learning_rate == 1e-3 and "stage_one_share" not in seen["options"]
        assert seen["options"]["stage_two_share"] == 1 / 3


# ----------------------------------------------------------------------------------------- jointly trained, and given


def test_over_another_method(share: Share, own: Path) -> None:
    result = good(*share(own, *FUSION, "--fusion-over", "private"))
    assert stages(made(result.stdout)) == ["train-share", "train-share"]
    fusion, private = runs(own)["adapterfusion"], runs(own)["private"]
    assert fusion.info["stage_one"] == [private.label] and private.info["steps"] == 12
    good(*share(own, "--method", "shared", "--max-steps", "24"))
    assert fusion.info["examples"] == runs(own)["shared"].info["examples"]
    result = good(*share(own, *FUSION, "--fusion-over", "shared"))
    assert "nothing to choose among" in result.stdout
    attention = runs(own)["adapterfusion"].table("attention.parquet").to_pandas()
    assert attention["attention"].tolist() == pytest.approx([1.0] * 6)  # 3 targets, 2 layers, one adapter in each
    assert attention["members"].map(list).tolist() == [["first", "second", "score"]] * 6
    good("report", "-w", own)
    text = (own / "report" / "report.md").read_text()
    assert all(f"fusion\\_over={over}" in text or f"fusion_over={over}" in text for over in ("private", "shared"))


def test_over_a_run_each_distinct_adapter_counts_once(share: Share, own: Path) -> None:
    origin = runs(own)["adaptershare"]
    good(*over_trained(share, own, "--fusion-over", origin.path.name))
    fusion = runs(own)["adapterfusion"]
    plan = origin.info["plan"]["layers"]
    attention = fusion.table("attention.parquet").to_pandas()
    for (_, layer), site in attention.groupby(["task", "layer"]):
        assert sorted(map(sorted, site["members"])) == sorted(map(sorted, plan[layer]))
        assert site["attention"].sum() == pytest.approx(1)
    select = {a.name: a.info["counts"]["select_rows"] for a in Workspace(own).artefacts("prepro")}
    assert dict(zip(attention["task"], attention["rows"], strict=True)) == select  # never the scored rows
    assert fusion.info["steps"] == 24  # all of the budget: the adapters were there
    before = origin.info["examples"]
    assert all(fusion.info["examples"][task] > before[task] for task in TASKS)
    label = {item["artefact"] for item in fusion.meta["inputs"]}
    assert origin.label in label
    text = (fusion.path / "artefact.json").read_text()
    assert '"fusion_over": "run"' in text
    refused(*over_trained(share, own, "--fusion-over", fusion.path.name), says=("attend over several", "--fusion-over"))
    refused("correlate", "-w", own, "--run", fusion.path.name, says=("has no checks", "adapterfusion has none"))
    refused(*share(own, "--init-plan", "adapterfusion"), says=("No run that --init-plan", "under a plan"))


def test_a_new_task_over_a_run_of_others(share: Share, own: Path) -> None:
    good(*share(own, *SPLITTING, tasks="first,score"))
    run = next(run for run in Workspace(own).artefacts("train-share") if run.info["tasks"] == ["first", "score"])
    good(*over_trained(share, own, "--fusion-over", run.path.name, tasks="second"))
    fusion = runs(own)["adapterfusion"]
    assert fusion.info["tasks"] == ["second"] and fusion.info["sources"] == ["first", "score"]
    says = ("no head of task second", "fresh")
    refused(*over_trained(share, own, "--fusion-over", run.key, "--fusion-head", "copied", tasks="second"), says=says)
    refused(*share(own, *FUSION, tasks="second"), says=("at least two tasks",))


def test_over_a_folder_of_adapters(share: Share, own: Path, tmp_path: Path) -> None:
    origin = only(own, "train-share/adaptershare-*/tasks")
    good(*over_trained(share, own, "--adapters", origin, "--fusion-head", "copied"))
    one = runs(own)["adapterfusion"]
    assert one.info["sources"] == sorted(TASKS)
    assert str(own) not in (one.path / "artefact.json").read_text()
    elsewhere = Path(shutil.copytree(origin, tmp_path / "elsewhere"))
    assert "Nothing to do" in good(*over_trained(share, own, "--adapters", elsewhere, "--fusion-head", "copied")).stdout
    good("report", "-w", own)
    results = pd.read_parquet(own / "report" / "results.parquet")
    given = results[results["key"].str.contains("fusion_over=adapters")]
    others = results.drop(given.index)
    assert len(given) and not set(given["comparison"]) & set(others["comparison"])
    # With the heads copied and no step that moves anything, each task starts from the head that it had.
    quick = ("--max-steps", "3", "--fusion-learning-rate", "0")
    good(*over_trained(share, own, *quick, "--adapters", elsewhere, "--fusion-head", "copied"))
    latest = max((own / "train-share").glob("adapterfusion-*"), key=lambda path: path.stat().st_mtime_ns)
    for task in TASKS:
        head = load_file(latest / "tasks" / task / "head.safetensors")
        for name, tensor in load_file(elsewhere / task / "head.safetensors").items():
            assert torch.equal(head[name], tensor)


def drop_tensor(folder: Path) -> None:
    tensors = load_file(folder / "adapter.safetensors")
    tensors.pop(min(tensors))
    save_file(tensors, folder / "adapter.safetensors")


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "adapter.safetensors"), folder / "pytorch_adapter.bin")
    (folder / "adapter.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (as_pickle, ("pytorch_adapter.bin is a pickle", "save_adapter")),
        (drop_tensor, ("do not fit its config", "1 tensors", "adapters.first.")),
    ],
)
def test_adapters_that_cannot_be_used(
    damage: Callable[[Path], None], says: tuple[str, ...], share: Share, trained: Path, tmp_path: Path
) -> None:
    """Whether it is seen at once or when the weights are read: nothing is published (more in tests/unit)."""
    folder = Path(shutil.copytree(only(trained, "train-share/adaptershare-*/tasks"), tmp_path / "given"))
    damage(folder / "first")
    workspace = Path(shutil.copytree(trained, tmp_path / "w"))
    before = hashed(workspace)
    refused(*over_trained(share, workspace, "--adapters", folder), says=says)
    assert hashed(workspace) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--adapters", "nowhere"), ("nowhere is not a folder",)),
        (("--adapters", "{w}/prepro"), ("There is no adapter in", "adapter_config.json")),
        (("--adapters", "{run}"), ("Did you mean", "tasks")),
        (("--adapters", "x", "--fusion-over", "shared"), ("two sets of adapters",)),
        (("--adapters", "{run}/tasks", "--stage-one-share", "0.5"), ("--stage-one-share has no effect",)),
        (("--adapters", "{run}/tasks", "--learning-rate", "0.5"), ("--learning-rate is that of stage one",)),
        (
            ("--fusion-over", "{run}", "--learning-rate", "1e-3"),
            ("--learning-rate is that of stage one",),
        ),  # the default
        (("--adapter-config", "par_bn"), ("Parallel adapters cannot be fused", "seq_bn")),
        (("--fusion-over", "given-plan"), ("--fusion-over given-plan cannot be made",)),
        (("--fusion-over", "adapterfusion"), ("--fusion-over adapterfusion cannot be made",)),
        (("--fusion-over", "nothing"), ("No run matches 'nothing'", "--fusion-over")),
        (("--fusion-over", "adaptershare-*", "--reduction-factor", "4"), ("--reduction-factor 16, this run has 4",)),
        (("--observe",), ("--method adapterfusion does not know --observe",)),
        (("--check-every", "5"), ("--method adapterfusion does not know --check-every",)),
        (("--method", "shared"), ("--method shared does not know --fusion-learning-rate", "adapterfusion")),
        (("--method", "private", "--fuse"), ("--method private does not know",)),
    ],
)
def test_options_that_do_not_fit(
    options: tuple[str, ...], says: tuple[str, ...], share: Share, trained: Path, tmp_path: Path
) -> None:
    workspace = Path(shutil.copytree(trained, tmp_path / "w"))
    run = only(workspace, "train-share/adaptershare-*")
    before = hashed(workspace)
    given = [option.format(w=workspace, run=run) for option in options]
    refused(*over_trained(share, workspace, *given), says=says)
    assert hashed(workspace) == before


# --------------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize("done", [2, 5, 8])
def test_an_interrupted_stage_two_goes_on_to_the_same_bytes(
    done: int, share: Share, attending: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Path(shutil.copytree(attending, tmp_path / "w"))
    expected = hashed(workspace)
    shutil.rmtree(only(workspace, "train-share/adapterfusion-*"))
    arguments = share(workspace, *FUSION, "--checkpoint-steps", "1")
    with monkeypatch.context() as patch:
        interrupt_at(done, patch)
        result = call(*arguments)
    assert result.exit_code == 130
    total = runs(attending)["adapterfusion"].info["steps"]
    assert f"Stopped after update {done + 1} of {total}" in result.stderr
    assert not list(workspace.glob("train-share/adapterfusion-*"))
    result = good(*arguments)
    assert f"goes on after update {done + 1} of {total}" in result.stdout
    assert hashed(workspace) == expected


def test_adaptershare_with_fusion_goes_on_to_the_same_bytes(
    share: Share, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = (Path(shutil.copytree(trained, tmp_path / name)) for name in ("whole", "parts"))
    options = (*SPLITTING, "--fuse", "--checkpoint-steps", "1")
    result = good(*share(whole, *options))
    assert "Attention, seed 0" in result.stdout and "Sharing plan, seed 0" in result.stdout
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert call(*share(parts, *options)).exit_code == 130
    good(*share(parts, *options))
    assert hashed(parts) == hashed(whole)
    run = max(Workspace(whole).artefacts("train-share"), key=lambda run: run.info["settings"]["fuse"])
    plan = run.info["plan"]["layers"]
    attention = run.table("attention.parquet").to_pandas()
    assert set(attention["layer"]) == {layer for layer, groups in enumerate(plan) if len(groups) > 1}
    assert not (run.path / "tasks" / "first" / "adapter.safetensors").exists()


# --------------------------------------------------------------------------------- a task from an earlier run's adapter


def test_a_task_starts_from_an_earlier_runs_adapter(share: Share, own: Path) -> None:
    """With a learning rate of nothing the adapter at the end is the one that it started from, bit by bit."""
    still = ("--learning-rate", "0", "--max-steps", "1")
    good(*single(share, own, *still, "--from-run", "adaptershare", "--init", "score", tasks="first"))
    started = next(run for run in Workspace(own).artefacts("train-single") if run.info["method"] == "single-from-run")
    origin = runs(own)["adaptershare"]
    ours = load_file(started.path / "tasks" / "first" / "adapter.safetensors")
    theirs = load_file(origin.path / "tasks" / "score" / "adapter.safetensors")
    assert len(ours) == len(theirs) > 0
    for name, tensor in theirs.items():
        assert torch.equal(ours[name.replace("adapters.score.", "adapters.first.")], tensor)
    assert origin.label in [item["artefact"] for item in started.meta["inputs"]]
    assert origin.content in json.dumps(started.meta["request"])
    assert started.info["start"] == {"run": origin.label, "task": "score", "head": False}
    head = load_file(started.path / "tasks" / "first" / "head.safetensors")
    good(*single(share, own, *still, tasks="first"))
    plain = next(run for run in Workspace(own).artefacts("train-single") if run.info["training"]["learning_rate"] == 0
                 and run.info["method"] == "single")  # fmt: skip
    for name, tensor in load_file(plain.path / "tasks" / "first" / "head.safetensors").items():
        assert torch.equal(head[name], tensor)  # the head is fresh, as without --from-run


def test_the_head_too_if_asked_and_if_it_fits(share: Share, own: Path) -> None:
    still = ("--learning-rate", "0", "--max-steps", "1", "--from-run", "adaptershare", "--init-head")
    good(*single(share, own, *still, "--init", "second", tasks="second"))
    started = next(run for run in Workspace(own).artefacts("train-single") if run.info["method"] == "single-from-run")
    origin = runs(own)["adaptershare"]
    theirs = load_file(origin.path / "tasks" / "second" / "head.safetensors")
    for name, tensor in load_file(started.path / "tasks" / "second" / "head.safetensors").items():
        assert torch.equal(theirs[name], tensor)
    before = hashed(own)
    refused(
        *single(share, own, *still, "--init", "second", tasks="first"), says=("head does not fit task first", "labels")
    )
    refused(
        *single(share, own, *still, "--init", "second", "--pooling", "cls", tasks="second"),
        says=("head does not fit task second", "pooling mean there, cls here"),
    )
    assert hashed(own) == before


def test_starting_from_a_single_run_and_from_seeds(share: Share, own: Path) -> None:
    """A run of one task needs no --init; of several runs that match, the one with the same seed is meant."""
    quick = ("--max-steps", "2")
    good(*single(share, own, *quick, "--seeds", "0,1", tasks="score"))
    names = ",".join(run.path.name for run in Workspace(own).artefacts("train-single") if run.info["steps"] == 2)
    good(*single(share, own, *quick, "--seeds", "0,1", "--from-run", names, tasks="second"))
    started = [run for run in Workspace(own).artefacts("train-single") if run.info["method"] == "single-from-run"]
    everything = {run.label: run for run in Workspace(own).artefacts("train-single")}
    assert [run.info["seed"] for run in started] == [everything[r.info["start"]["run"]].info["seed"] for r in started]
    good("report", "-w", own)
    results = pd.read_parquet(own / "report" / "results.parquet")
    rows = results[results["method"] == "single-from-run"]
    assert rows["key"].nunique() == 1 and sorted(rows["seed"].unique()) == [0, 1]
    assert "goes on" not in good(*single(share, own, *quick, "--from-run", names, tasks="first")).stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--init", "first"), ("--init needs --from-run",)),
        (("--init-head",), ("--init-head needs --from-run",)),
        (("--from-run", "nope"), ("No run matches 'nope'", "--from-run")),
        (("--from-run", "adaptershare"), ("Whose adapter is meant?", "first, score, second")),
        (("--from-run", "adaptershare", "--init", "third"), ("no task 'third'", "first, score, second")),
        (("--from-run", "adapterfusion", "--init", "first"), ("attend over several",)),
        (("--from-run", "adaptershare", "--init", "first", "--reduction-factor", "4"),
         ("--reduction-factor 16, this run has 4", "Give --reduction-factor 16")),
        (("--from-run", "adaptershare", "--init", "first", "--adapter-config", "double_seq_bn"),
         ("--adapter-config seq_bn, this run has double_seq_bn",)),
    ],
)  # fmt: skip
def test_starts_that_do_not_fit(options: tuple[str, ...], says: tuple[str, ...], share: Share, attending: Path) -> None:
    before = hashed(attending)
    refused(*single(share, attending, *options, tasks="first"), says=says)
    assert hashed(attending) == before


def test_starting_on_another_encoder_is_refused(share: Share, attending: Path, encoders: dict[str, Path]) -> None:
    options = ("--from-run", "adaptershare", "--init", "first", "--model", encoders["roberta"])
    refused(*single(share, attending, *options, tasks="first"), says=("was trained on another encoder", "--model"))
    says = ("was trained on another encoder",)
    refused(
        *over_trained(share, attending, "--fusion-over", "adaptershare-*", "--model",
               encoders["roberta"]),
        says=says,
    )  # fmt: skip
