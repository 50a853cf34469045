"""An exported task folder, loaded as its own README.md says: plain `adapters` and torch, in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.data.encoding import load_tokenizer, prepare_task
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.folders import read_info
from adaptershare_cli.model.loaded import LoadedModel
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.serving.predictor import Predictor
from adaptershare_cli.serving.rows import Call
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.masks import random_masks
from adaptershare_cli.training.optimizer import Optimizer
from tests.conftest import ENCODER_TYPES, ODD_ENCODERS
from tests.core import (
    INFOS,
    adapter_training,
    build_method,
    learn_tokenizer,
    outputs_of,
    random_parts,
    random_sources,
    scramble,
)

TASKS = ("first", "score", "first-2")
GENERATED = ("hyperformer", "hyperformer++")
INSIDE = ("lora", "ia3")  # adapters inside of frozen Linears
SOURCES = ("first", "second", "score", "first-2")
TEXTS = ["the film was good", "a dull plot", "we hated the awful service but it was cheap quite good and fresh", "i"]
PAIRS = [[text, "the bank"] for text in TEXTS]
WITHOUT_ADAPTER = {"README.md", "encoder.safetensors", "head.json", "head.safetensors"}
FILES = {"README.md", "adapter.safetensors", "adapter_config.json", "head.json", "head.safetensors"}

# Runs each snippet in its own namespace and saves its logits. Nothing of this project may be imported.
DRIVER = """
import json, sys
from safetensors.torch import save_file
for case in json.load(open(sys.argv[1])):
    names = {"ENCODER": case["encoder"], "FOLDER": case["folder"], "TEXTS": case["texts"]}
    exec(case["snippet"], names)
    save_file({"logits": names["logits"].detach().contiguous(), "ids": names["inputs"]["input_ids"]}, case["result"])
assert not [name for name in sys.modules if name.startswith("adaptershare")]
"""


@dataclass
class Case:
    """One exported task, what we say of its texts, and what the snippet says."""

    folder: Path
    expected: torch.Tensor
    ids: torch.Tensor
    found: dict[str, torch.Tensor]


def scrambled(folder: Path, pooling: str, name: str = "shared") -> PlannedMethod:
    """A method with random weights: a plan that shares in one layer only, or generated adapters at both sites."""
    adapter = "double_seq_bn" if name in GENERATED else name if name in INSIDE else "seq_bn"
    training = adapter_training(adapter, pooling=pooling)
    if name in GENERATED:
        method, _ = build_method(folder, name, random_parts(TASKS), training, train_layer_norms=name == GENERATED[1])
    else:
        method, _ = build_method(folder, "shared", random_parts(TASKS), training)
        method.model.bank.split(1, ("first", "score"), ("first-2",))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in method.model.parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            # Generators sum over what they read: much noise, or layer norms of noise alone, would make all rows alike.
            tensor.copy_(tensor + 0.05 * noise if name in GENERATED else 0.3 * noise)
    return method


def attending(folder: Path, segments: bool = True) -> Any:
    """AdapterFusion over four adapters, two of which are one in layer 0, with random weights."""
    training = TrainingSettings(max_steps=5, reduction_factor=4)
    sources = random_sources(folder, SOURCES, training, shared=((0, "second", "score"),))
    method, _ = build_method(
        folder, "adapterfusion", random_parts(TASKS, segments=segments), training, start=sources,
        task_steps=dict.fromkeys(TASKS, 1),
    )  # fmt: skip
    scramble(method.names(), 4)
    return method


def fused(folder: Path) -> Any:
    """AdapterShare with fusion: layer 0 whole, layer 1 in two groups, neither of them named after every task."""
    training = TrainingSettings(max_steps=5, reduction_factor=4, adapter_config="double_seq_bn")
    method, _ = build_method(folder, "adaptershare", random_parts(TASKS), training, fuse=True)
    phase = next(method.phases())
    method.split(1, ("first", "first-2"), ("score",), Optimizer(phase.parameters(), training, 5))
    scramble(method.names(), 5)
    return method


def sparse(folder: Path, prune: str) -> Any:
    """Sparse Sharing of adapters, or of the encoder itself, with random weights and a random mask for each task."""
    training = (
        TrainingSettings(max_steps=5) if prune == "encoder" else TrainingSettings(max_steps=5, reduction_factor=4)
    )
    method, _ = build_method(folder, "sparse-sharing", random_parts(TASKS), training, prune=prune)
    with torch.no_grad():
        for number, tensor in enumerate(method.names()):
            noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(number))
            tensor.add_((0.05 if prune == "encoder" else 0.3) * noise)
    some = {name: torch.rand(m.shape, generator=torch.Generator().manual_seed(9)) < 0.7 for name, m in
            method.model.all_ones().items()}  # fmt: skip
    method.model.keep({task: random_masks(some, number) for number, task in enumerate(TASKS)})
    return method


def rows_of(folder: Path, texts: list) -> Rows:
    """The texts as `prepro` would prepare them."""
    first, second = zip(*[(t, None) if isinstance(t, str) else t for t in texts], strict=True)
    columns = {"row": range(len(texts)), "text": first, "text_pair": second, "label": ["no"] * len(texts)}
    dev = pa.table({k: list(v) for k, v in columns.items()}, schema=KINDS["classification"].downloaded_schema())
    train = dev.slice(0, 0)
    tokenizer = load_tokenizer(folder, "classification")
    prepared = prepare_task({"train": train, "dev": dev}, INFOS["first"], tokenizer, 64, 2, 1, None, None)
    return Rows(prepared.parts["dev"], INFOS["first"])


@pytest.fixture(scope="module")
def cases(
    encoders: dict[str, Path], odd_encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str, str], Case]:
    """Every exported task of (encoder, pooling or method, task), loaded in one other process."""
    root = tmp_path_factory.mktemp("exported")
    encoders = {**encoders, **odd_encoders}
    orders, made = [], {}
    methods: dict[tuple[str, str], Any] = {
        (kind, way): scrambled(encoders[kind], *(("mean", way) if way in (*GENERATED, *INSIDE) else (way,)))
        for kind, way in VARIANTS
    }
    methods |= {(kind, "adapterfusion"): attending(encoders[kind], kind == "bert") for kind in ("bert", "distilbert")}
    methods["bert", "fuse"] = fused(encoders["bert"])
    methods |= {(kind, way): scrambled(encoders[kind], way) for kind, way in ODD if way in ("mean", "cls")}
    methods |= {(kind, "adapterfusion"): attending(encoders[kind]) for kind, way in ODD if way == "adapterfusion"}
    methods |= {(kind, variant): sparse(encoders[kind], variant.partition("-")[2]) for kind, variant in SPARSE}
    for (kind, pooling), method in methods.items():
        method.eval_mode()
        learn_tokenizer(method, encoders[kind])
        for task in TASKS:
            folder = root / f"{kind}-{pooling}" / task
            method.export(task, folder)
            texts = PAIRS if task == "first-2" and kind in ("bert", *odd_encoders) else TEXTS
            batch = make_batch(task, rows_of(encoders[kind], texts), np.arange(len(texts)), 0)
            with torch.no_grad():
                made[kind, pooling, task] = Case(folder, method.logits(batch), batch.inputs["input_ids"], {})
            snippet = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
            assert len(snippet) == 1
            orders.append({
                "encoder": str(encoders[kind]), "folder": str(folder), "texts": texts, "snippet": snippet[0],
                "result": str(root / f"{kind}-{pooling}-{task}.safetensors"),
            })  # fmt: skip
    (root / "orders.json").write_text(json.dumps(orders))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", DRIVER, str(root / "orders.json")],
        cwd=root, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    for order, case in zip(orders, made.values(), strict=True):
        case.found = load_file(order["result"])
    return made


VARIANTS = [
    *itertools.product(("bert", "roberta"), ("mean", "cls", *GENERATED)),
    *((kind, "lora") for kind in ENCODER_TYPES),
    ("bert", "ia3"),
]
SPARSE = [
    ("bert", "sparse-adapters"), ("distilbert", "sparse-adapters"), ("bert", "sparse-encoder"),
    ("distilbert", "sparse-encoder"), ("electra", "sparse-encoder"),
]  # fmt: skip
FUSED = [("bert", "adapterfusion"), ("distilbert", "adapterfusion"), ("bert", "fuse")]
# `cls` reads the first token, which is padding where that stands on the left.
ODD = [
    *((kind, "cls" if "left" in kind else "mean") for kind in ODD_ENCODERS),
    ("distilbert-segments", "adapterfusion"),
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("kind", "variant"), [*VARIANTS, *FUSED, *SPARSE, *ODD])
def test_the_readme_snippet_gives_our_logits_bit_for_bit(
    cases: dict[tuple[str, str, str], Case], kind: str, variant: str, task: str
) -> None:
    case = cases[kind, variant, task]
    assert torch.equal(case.found["ids"], case.ids)  # the same padded batch
    assert case.found["logits"].dtype == torch.float32
    assert torch.equal(case.found["logits"], case.expected)
    assert case.expected.shape == (len(TEXTS), outputs_of(INFOS[task]))
    assert case.expected.std(0).min() > 0.01  # the rows differ, so equality says something


@pytest.mark.parametrize(("kind", "variant"), [*VARIANTS, *FUSED, *SPARSE, *ODD])
def test_tasks_that_are_loaded_together_answer_as_they_did(
    cases: dict[tuple[str, str, str], Case],
    encoders: dict[str, Path],
    odd_encoders: dict[str, Path],
    kind: str,
    variant: str,
) -> None:
    """In one pass for all of them, each gives what it gives alone bit for bit, whatever they share."""
    place, folders = {**encoders, **odd_encoders}[kind], {task: cases[kind, variant, task].folder for task in TASKS}
    training = TrainingSettings(pooling="cls" if variant == "cls" or "left" in kind else "mean")
    encoder = load_encoder(locate_encoder(str(place)), torch.device("cpu"))
    model = LoadedModel(encoder, {task: read_info(folder) for task, folder in folders.items()}, folders, training)
    predictor = Predictor(model, lambda kind: load_tokenizer(place, kind), dict.fromkeys(TASKS, 64), 3)
    rows = [{"text": text} for text in TEXTS]
    together = predictor.predict(TASKS, rows)
    for task in TASKS:
        assert np.array_equal(together[task].values, predictor.predict([task], rows)[task].values)
        if task == "first-2" and (kind == "bert" or kind in odd_encoders):  # of pairs
            continue
        np.testing.assert_allclose(together[task].values, cases[kind, variant, task].expected, rtol=1e-4, atol=1e-5)
    calls = [Call(TASKS[:1], rows), Call(TASKS[1:], rows[::-1]), Call(TASKS, rows[1:3]), Call(TASKS[1:2], [])]
    for call, outputs in zip(calls, predictor.predict_calls(calls), strict=True):
        assert tuple(outputs) == call.tasks
        alone = predictor.predict(call.tasks, call.rows)
        for task in call.tasks:
            assert outputs[task].rows.row.tolist() == alone[task].rows.row.tolist() == [*range(len(call.rows))]
            np.testing.assert_allclose(outputs[task].values, alone[task].values, rtol=1e-4, atol=1e-5)
    (tree,) = predictor.branches(TASKS)
    expected = {"mean": 3, "cls": 3, "lora": 3, "ia3": 3, "fuse": 4}.get(
        variant, 6
    )  # of two layers the second has split
    assert tree.layers == expected


SHAPES = {"lora": {"r": 4, "alpha": 6, "output_lora": True}, "ia3": {"r": 1, "composition_mode": "scale"}}


def test_tasks_differ(cases: dict[tuple[str, str, str], Case]) -> None:
    for kind in ("bert", "roberta"):
        assert not torch.equal(cases[kind, "mean", "first"].expected, cases[kind, "mean", "first-2"].expected)
        assert not torch.equal(cases[kind, "mean", "first"].expected, cases[kind, "cls", "first"].expected)


def test_only_safetensors_and_no_local_path(
    cases: dict[tuple[str, str, str], Case], encoders: dict[str, Path], odd_encoders: dict[str, Path]
) -> None:
    encoders = {**encoders, **odd_encoders}
    for (kind, variant, task), case in cases.items():
        if variant in ("adapterfusion", "fuse"):
            names = {path.relative_to(case.folder).as_posix() for path in case.folder.rglob("*") if path.is_file()}
            assert names == fused_files(variant)
        else:
            norms = {"layer_norms.safetensors"} if variant == "hyperformer++" else set()  # trained in this one
            files = WITHOUT_ADAPTER if variant == "sparse-encoder" else FILES
            assert {path.name for path in case.folder.rglob("*")} == files | norms
        places = {str(encoders[kind]), str(encoders[kind].parent), str(case.folder), str(Path.home()), os.getcwd()}
        for path in (path for path in case.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            assert not [place for place in places if len(place) > 1 and place.encode() in content], path.name
            if path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    assert len(file.metadata() or {}) <= 1  # several would be written in a random order
        if variant in ("adapterfusion", "fuse", "sparse-encoder"):
            continue
        config = json.loads((case.folder / "adapter_config.json").read_text())
        assert "model_name" not in config
        assert (config["name"], config["model_type"], config["hidden_size"]) == (task, kind.partition("-")[0], 32)
        shape = SHAPES.get(variant, {"reduction_factor": 4})
        assert shape.items() <= config["config"].items()


def fused_files(variant: str) -> set[str]:
    """The files of an exported task that attends over several adapters."""
    own = ("adapter.safetensors", "adapter_config.json")
    sources = SOURCES if variant == "adapterfusion" else ("first", "score")
    files = {"README.md", "head.json", "head.safetensors"}
    files |= {f"fusion/{name}" for name in ("adapter_fusion_config.json", "model_adapter_fusion.safetensors")}
    return files | {f"adapters/{source}/{name}" for source in sources for name in own}


@pytest.mark.parametrize(("kind", "variant"), SPARSE)
def test_masks_are_multiplied_in_and_the_shared_weights_stay(
    cases: dict[tuple[str, str, str], Case], encoders: dict[str, Path], tmp_path: Path, kind: str, variant: str
) -> None:
    method = sparse(encoders[kind], variant.partition("-")[2])
    before = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    for task in TASKS:
        method.export(task, tmp_path / task)
        files = {path.name for path in cases[kind, variant, task].folder.iterdir()}
        for name in files:
            assert (tmp_path / task / name).read_bytes() == (cases[kind, variant, task].folder / name).read_bytes()
        weights = load_file(next(tmp_path.glob(f"{task}/[ae]*.safetensors")))
        zeros = sum(int((tensor == 0).sum()) for tensor in weights.values())
        assert zeros == sum(int((~mask).sum()) for mask in method.model.masks[task].values()) > 0
    after = method.state()[0]
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_an_adapter_that_several_share_is_exported_once(cases: dict[tuple[str, str, str], Case]) -> None:
    """In each layer the first of those that share it brings it; where it does not, its config leaves the layer out."""
    for variant, second in (("adapterfusion", "score"), ("fuse", "score")):
        folder = cases["bert", variant, "first-2"].folder
        for source in ("first", second):
            config = json.loads((folder / "adapters" / source / "adapter_config.json").read_text())["config"]
            weights = load_file(folder / "adapters" / source / "adapter.safetensors")
            layers = {int(name.split(".")[2]) for name in weights}
            assert layers == ({0, 1} if source == "first" else {1})
            assert config["leave_out"] == ([] if source == "first" else [0])
    fusion = json.loads((folder / "fusion" / "adapter_fusion_config.json").read_text())
    assert fusion["adapter_names"] == ["score", "first"] and fusion["name"] == "fusion(first-2)"
    assert (fusion["config"]["query"], fusion["config"]["key"], fusion["config"]["value"]) == (True, True, True)
    weights = load_file(folder / "fusion" / "model_adapter_fusion.safetensors")
    assert len(weights) == 2 * 2 * 5
    for name, tensor in weights.items():  # layer 0 has one adapter: its output is handed on as it is
        if name.startswith("encoder.layer.0."):
            assert torch.equal(tensor, torch.eye(32) if name.endswith("value.weight") else torch.zeros_like(tensor))


@pytest.mark.parametrize("build", [attending, fused])
def test_exports_of_fusion_have_equal_bytes_and_change_nothing(
    cases: dict[tuple[str, str, str], Case], encoder: Path, tmp_path: Path, build: Any
) -> None:
    variant = "adapterfusion" if build is attending else "fuse"
    method = build(encoder)
    if build is attending:
        method.begun = list(TASKS)  # so that `state` has them all
    before = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    for round in range(2):
        for task in TASKS:
            method.export(task, tmp_path / str(round) / task)
            for name in fused_files(variant):
                expected = (cases["bert", variant, task].folder / name).read_bytes()
                assert (tmp_path / str(round) / task / name).read_bytes() == expected, name
    after = method.state()[0]
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_head_config(cases: dict[tuple[str, str, str], Case]) -> None:
    head = json.loads((cases["roberta", "cls", "score"].folder / "head.json").read_text())
    assert head == {
        "task": "score", "kind": "regression", "labels": [], "range": [0.0, 5.0], "pooling": "cls",
        "encoder_type": "roberta", "hidden_size": 32,
    }  # fmt: skip
    assert "range" in (cases["roberta", "cls", "score"].folder / "README.md").read_text()
    assert json.loads((cases["bert", "mean", "first"].folder / "head.json").read_text())["labels"] == ["no", "yes"]


def test_equal_weights_give_equal_bytes(cases: dict[tuple[str, str, str], Case], encoder: Path, tmp_path: Path) -> None:
    again = scrambled(encoder, "mean")
    tensors, meta = again.state()
    restored, _ = build_method(encoder, "private", random_parts(TASKS), again.context.training, seed=5)
    restored.load_state(tensors, meta)
    for number, method in enumerate((again, again, restored)):
        for task in TASKS:
            folder = tmp_path / str(number) / task
            method.export(task, folder)
            for name in FILES:
                expected = (cases["bert", "mean", task].folder / name).read_bytes()
                assert (folder / name).read_bytes() == expected, name


def test_other_weights_give_other_bytes(encoder: Path, tmp_path: Path) -> None:
    method = scrambled(encoder, "mean")
    method.export("first", tmp_path / "a")
    with torch.no_grad():
        next(iter(method.model.bank.named_parameters("first", 1)))[1].add_(1e-3)
        method.model.heads["first"].linear.bias.add_(1e-3)
    method.export("first", tmp_path / "b")
    for name in ("adapter.safetensors", "head.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()
