"""What runs cost, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adaptershare_cli.methods.planned.method import PlannedMethod
from adaptershare_cli.training.costs import Costs, TaskCosts, count_costs, multiply_adds
from adaptershare_cli.training.protocol import Method
from tests.conftest import ENCODER_TYPES
from tests.core import INFOS, adapter_training, build_method, outputs_of, random_parts

D, R, LAYERS, INNER = 32, 8, 2, 64  # the small encoder's sizes, and reduction 4
ADAPTER = 2 * D * R + R + D  # down and up projection with their biases
HEADS = {task: (D + 1) * outputs_of(info) for task, info in INFOS.items()}
LENGTHS = {task: [9 + number, 10 + number] for number, task in enumerate(INFOS)}  # mean x.5 rounds to even


def counted(folder: Path, name: str, adapter: str = "seq_bn", segments: bool = True, **options: object) -> Costs:
    return count_costs(built(folder, name, adapter, segments, **options), LENGTHS)


def built(folder: Path, name: str, adapter: str, segments: bool = True, **options: object) -> PlannedMethod:
    return build_method(folder, name, random_parts(segments=segments), adapter_training(adapter), **options)[0]


@pytest.mark.parametrize(("adapter", "sites"), [("seq_bn", 1), ("par_bn", 1), ("double_seq_bn", 2)])
@pytest.mark.parametrize(("name", "groups"), [("shared", 1), ("private", 4)])
def test_shared_and_private(encoder: Path, adapter: str, sites: int, name: str, groups: int) -> None:
    found = counted(encoder, name, adapter)
    heads = sum(HEADS.values())
    assert found.trained == found.stored == groups * LAYERS * sites * ADAPTER + heads
    assert found.trained_heads == found.stored_heads == heads
    for task, own in found.tasks.items():
        assert (own.stored, own.heads) == (LAYERS * sites * ADAPTER + HEADS[task], HEADS[task])


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_lora(encoders: dict[str, Path], model_type: str) -> None:
    """At every one of five matrices a product of d x r and one of r x d; in feed-forward, inner stands for one d."""
    found = counted(encoders[model_type], "private", "lora", model_type in ("bert", "electra"))
    rank = 4
    adapter = LAYERS * rank * (3 * 2 * D + 2 * (D + INNER))
    assert found.trained == found.stored == len(INFOS) * adapter + sum(HEADS.values())
    for task, own in found.tasks.items():
        assert own.stored == adapter + HEADS[task]
        head = D * outputs_of(INFOS[task])
        assert own.multiply_adds == own.encoder_multiply_adds + own.length * adapter + head
    shared = counted(encoders[model_type], "shared", "lora", model_type in ("bert", "electra"))
    assert shared.stored == adapter + sum(HEADS.values())


def test_factors_are_no_products(encoder: Path) -> None:
    found = counted(encoder, "private", "ia3")
    factors = LAYERS * (2 * D + INNER)
    assert found.trained == found.stored == len(INFOS) * factors + sum(HEADS.values())
    for task, own in found.tasks.items():
        assert own.multiply_adds == own.encoder_multiply_adds + D * outputs_of(INFOS[task])


def test_adaptershare_after_splits(encoder: Path) -> None:
    method = built(encoder, "adaptershare", "seq_bn")
    method.model.bank.split(1, ("first", "score"), ("second", "first-2"))
    method.model.bank.split(1, ("first",), ("score",))
    found = count_costs(method, LENGTHS)
    assert found.trained == found.stored == (1 + 3) * ADAPTER + sum(HEADS.values())
    assert found.tasks["second"].stored == 2 * ADAPTER + HEADS["second"]


def test_uncertainties_are_trained_and_not_stored(encoder: Path) -> None:
    plain, weighted = (counted(encoder, "shared", loss_weighting=kind) for kind in ("equal", "uncertainty"))
    assert weighted.trained == plain.trained + len(INFOS)
    assert weighted.stored == plain.stored


@pytest.mark.parametrize("norms", [0, 1])
@pytest.mark.parametrize("name", ["hyperformer", "hyperformer++"])
def test_of_generated_adapters_what_they_are_is_stored_not_what_wrote_them(
    encoder: Path, name: str, norms: int
) -> None:
    found = counted(encoder, name, "double_seq_bn", train_layer_norms=bool(norms))
    own_norms = norms * (1 + 2 * LAYERS) * 2 * D
    adapters = 2 * LAYERS * (ADAPTER + 2 * D)
    assert found.stored == len(INFOS) * adapters + own_norms + sum(HEADS.values())
    assert found.trained > found.stored
    for task, own in found.tasks.items():
        assert own.stored == adapters + own_norms + HEADS[task]


@pytest.mark.parametrize("model_type", ENCODER_TYPES)
def test_multiply_adds(encoders: dict[str, Path], model_type: str) -> None:
    """Attention: four products of d x d and two of S x S; feed-forward: two of d x inner; adapters: two of d x r."""
    segments = model_type in ("bert", "electra")
    found = counted(encoders[model_type], "private", "double_seq_bn", segments)
    for task, own in found.tasks.items():
        s = sum(LENGTHS[task]) // 2 + sum(LENGTHS[task]) // 2 % 2
        projection = 16 * D * s if model_type == "electra" else 0  # from its smaller embeddings
        encoder = LAYERS * s * (4 * D * D + 2 * s * D + 2 * D * INNER) + projection
        assert own == TaskCosts(
            stored=2 * LAYERS * ADAPTER + HEADS[task], heads=HEADS[task], length=s,
            multiply_adds=encoder + LAYERS * s * 2 * 2 * D * R + D * outputs_of(INFOS[task]),
            encoder_multiply_adds=encoder,
        )  # fmt: skip


def test_generated_and_plain_adapters_infer_at_the_same_cost(encoder: Path) -> None:
    plain, generated = (counted(encoder, name, "double_seq_bn") for name in ("private", "hyperformer++"))
    for task in INFOS:
        assert plain.tasks[task].multiply_adds == generated.tasks[task].multiply_adds


def test_the_encoder_is_counted_as_it_was_loaded(encoder: Path) -> None:
    from transformers import AutoModel

    bare = AutoModel.from_pretrained(encoder, add_pooling_layer=False).num_parameters()
    for name in ("private", "hyperformer"):
        assert counted(encoder, name, "double_seq_bn").encoder == bare


def test_counting_warns_of_nothing_and_changes_nothing(encoder: Path, caplog: pytest.LogCaptureFixture) -> None:
    method: Method = built(encoder, "hyperformer", "seq_bn")
    before = {name: tensor.clone() for name, tensor in method.state()[0].items()}
    count_costs(method, LENGTHS)
    assert not caplog.records
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state()[0].items())


def test_multiply_adds_of_products() -> None:
    assert multiply_adds(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 3 * 5 * 7
    assert multiply_adds(lambda: torch.ones(3, 5) + 1) == 0
