"""Tagging in the learning core: losses and gradients of words, alone and beside tasks of other kinds."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptershare_cli.data.batches import Rows, make_batch
from adaptershare_cli.data.encoding import load_tokenizer, prepare_task
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.rows.answers import Targets
from adaptershare_cli.model.stored import read_head
from adaptershare_cli.observe.gradients import gram_matrices, row_index
from adaptershare_cli.observe.head_importance import row_importance
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.interference import unit_rows
from adaptershare_cli.training.costs import count_costs
from adaptershare_cli.training.evaluation import predict
from tests.core import MIXED, WORD_INFOS, build_method, learn_tokenizer, random_parts, random_sources, scramble
from tests.unit.test_words import save_tokenizer, table

TAGS = WORD_INFOS["tags"]


def test_a_rows_loss_is_the_mean_over_its_words() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    lines = torch.tensor([0, 0, 0, 1, 2, 2])
    losses = KINDS["tagging"].row_losses(TAGS, logits, Targets(labels, lines, torch.arange(6)))
    each = -logits.log_softmax(1)[torch.arange(6), labels]
    expected = torch.stack([each[:3].mean(), each[3], each[4:].mean()])
    assert torch.allclose(losses, expected, rtol=1e-14)


def test_a_batch_is_the_mean_of_its_rows_alone(encoder: Path) -> None:
    method, parts = build_method(encoder, parts=random_parts(MIXED), double=True)
    method.eval_mode()
    rows = parts["tags"].train
    order = np.arange(9)
    whole = method.loss(make_batch("tags", rows, order, 0))
    alone = [method.loss(make_batch("tags", rows, order[row : row + 1], 0)) for row in order]
    assert whole.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-12)


def test_rows_gradients_add_up_to_the_tasks(encoder: Path) -> None:
    """The held-out gradient that checks see is that of the loss that updates minimise."""
    method, parts = build_method(encoder, "private", parts=random_parts(MIXED), double=True)
    method.eval_mode()
    heldout = {task: part.heldout for task, part in parts.items()}
    index = row_index(heldout)
    grams = gram_matrices(method.model, heldout, 0, chunk_rows=7)
    for layer, gram in enumerate(grams):
        for number, (task, rows) in enumerate(heldout.items()):
            tensors = [tensor for _, tensor in method.model.bank.named_parameters(task, layer)]
            loss = method.loss(make_batch(task, rows, np.arange(len(rows)), 0))
            square = sum((part**2).sum().item() for part in torch.autograd.grad(loss, tensors))
            own = index.rows(number)
            assert gram[np.ix_(own, own)].mean() == pytest.approx(square, rel=1e-10), (layer, task)
        assert np.isfinite(unit_rows(gram)).all()


def test_halves_have_the_strata_in_equal_parts() -> None:
    heldout = {"tags": random_parts(MIXED)["tags"].heldout}
    index = row_index(heldout)
    strata = heldout["tags"].answers.strata
    assert index.stratum is not None and index.stratum.tolist() == strata.tolist()
    for value in (0, 1):
        sizes = [int(((index.half == half) & (strata == value)).sum()) for half in (0, 1)]
        assert abs(sizes[0] - sizes[1]) <= 1


def test_head_outputs_stand_at_their_words(encoder: Path) -> None:
    """Whatever the batch, a word's outputs are those of its row alone."""
    method, parts = build_method(encoder, parts=random_parts(MIXED), double=True)
    method.eval_mode()
    rows = parts["tags"].scored["dev"]
    together = predict(method.logits, "tags", rows, 3, 6, 0)
    alone = predict(method.logits, "tags", rows, 3, 1, 0)
    assert together.shape == (len(rows.answers), 3)
    assert np.allclose(together, alone, atol=1e-6)
    assert together.std(0).min() > 1e-4  # words differ


def test_the_head_reads_the_first_sub_word_and_no_other(encoder: Path) -> None:
    method, parts = build_method(encoder, parts=random_parts(MIXED), double=True)
    method.eval_mode()
    batch = make_batch("tags", parts["tags"].train, np.arange(5), 0)
    rows, tokens = batch.targets.rows, batch.targets.tokens
    assert rows is not None and tokens is not None
    with torch.no_grad(), method.model.active("tags"):
        hidden = method.model.encode(batch.inputs)
        head = method.model.heads["tags"].linear
        expected = [head(hidden[line, token]) for line, token in zip(rows, tokens, strict=True)]
    assert torch.allclose(method.logits(batch), torch.stack(expected), rtol=1e-12)


def test_pooling_means_nothing_to_words_and_everything_to_rows(encoder: Path) -> None:
    method, parts = build_method(encoder, parts=random_parts(MIXED), double=True)
    method.eval_mode()
    found = {}
    for pooling in ("mean", "cls"):
        method.model.pooling = pooling
        found[pooling] = {t: method.logits(make_batch(t, parts[t].train, np.arange(4), 0)) for t in ("tags", "first")}
    assert torch.equal(found["mean"]["tags"], found["cls"]["tags"])
    assert not torch.equal(found["mean"]["first"], found["cls"]["first"])


@pytest.mark.parametrize("signal", ["weight-grad", "head-gate"])
def test_head_importances_of_words(encoder: Path, signal: str) -> None:
    method, parts = build_method(encoder, "private", parts=random_parts(MIXED), double=True)
    rows = parts["tags"].heldout
    together = row_importance(method.model, "tags", rows, 0, signal, chunk_rows=4)  # type: ignore[arg-type]
    alone = row_importance(method.model, "tags", rows, 0, signal, chunk_rows=1)  # type: ignore[arg-type]
    assert together.shape == (11, 2, 2) and together.min() > 0
    assert np.allclose(together, alone, rtol=1e-9)


# ---- exports ----

SENTENCES = [
    ["the", "film", "was", "good"],
    ["i"],
    ["we", "hated", "the", "awful", "service", "but", "it", "was", "good"],
]


@pytest.mark.parametrize(
    ("model_type", "method_name"),
    [("bert", "shared"), ("bert", "adapterfusion"), ("roberta", "shared"), ("bytes", "shared"),
     ("distilbert-segments", "shared"), ("electra-padded-left", "shared")],
)  # fmt: skip
def test_the_readme_snippet_gives_our_logits_bit_for_bit(
    encoders: dict[str, Path], odd_encoders: dict[str, Path], tmp_path: Path, model_type: str, method_name: str
) -> None:
    """What stands in an exported folder loads with plain `adapters` and torch alone."""
    encoder = {**encoders, **odd_encoders}.get(model_type)
    if encoder is None:  # a RoBERTa with a byte-level tokenizer, to which a blank before a word matters
        encoder = Path(shutil.copytree(encoders["roberta"], tmp_path / "encoder"))
        save_tokenizer(encoder, "bytes")
    training, stage_one = TrainingSettings(max_steps=5, reduction_factor=4), {}
    parts = random_parts(("first", "tags"))
    if method_name == "adapterfusion":
        sources = random_sources(encoder, ("first", "tags"), training)
        stage_one = {"start": sources, "task_steps": dict.fromkeys(parts, 1)}
    method, _ = build_method(encoder, method_name, parts, training, **stage_one)
    scramble(method.names(), 6)
    method.eval_mode()
    learn_tokenizer(method, encoder)
    method.export("tags", tmp_path / "exported")
    splits = {"train": table([]), "dev": table(SENTENCES)}
    tokenizer = load_tokenizer(encoder, "tagging")
    prepared = prepare_task(splits, TAGS, tokenizer, 64, 2, 1, None, None)
    batch = make_batch("tags", Rows(prepared.parts["dev"], TAGS), np.arange(3), 0)
    text = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"ENCODER": str(encoder), "FOLDER": str(tmp_path / "exported"), "SENTENCES": SENTENCES}
    exec(snippet, names)
    assert torch.equal(names["inputs"]["input_ids"], batch.inputs["input_ids"])
    assert names["rows"] == [row for row, words in enumerate(SENTENCES) for _ in words]
    assert torch.equal(names["logits"].detach(), method.logits(batch).detach())
    assert names["logits"].std(0).min() > 0.01


def test_head_file(encoder: Path, tmp_path: Path) -> None:
    method, _ = build_method(encoder, parts=random_parts(MIXED))
    method.export("tags", tmp_path)
    head = json.loads((tmp_path / "head.json").read_text())
    assert head == {
        "task": "tags", "kind": "tagging", "labels": ["B-x", "I-x", "O"], "range": None, "pooling": "first-subword",
        "encoder_type": "bert", "hidden_size": 32,
    }  # fmt: skip
    info = WORD_INFOS["tags"]
    assert read_head(tmp_path, info, "cls").keys() == {"weight", "bias"}  # pooling is of no account
    with pytest.raises(UserError, match="kind tagging there, classification here"):
        read_head(tmp_path, replace(info, kind="classification"), "mean")


def test_costs_count_the_head_at_every_token(encoder: Path) -> None:
    method, parts = build_method(encoder, parts=random_parts(MIXED))
    costs = count_costs(method, {task: [10, 10] for task in parts})
    tags, first = costs.tasks["tags"], costs.tasks["first"]
    assert tags.heads == 3 * 32 + 3
    assert tags.multiply_adds - first.multiply_adds == 10 * 3 * 32 - 2 * 32
    assert math.isclose(costs.trained_heads, sum(costs.tasks[task].heads for task in parts))
