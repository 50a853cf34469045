"""Adapters of every architecture learn a rule that a head alone cannot: of two words in a row exactly one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from adaptershare_cli.data.batches import Rows, TaskParts
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.training.loop import Hooks, Trainer
from tests.core import INFOS, adapter_training, build_method

INFO = INFOS["first"]
START, END, WORDS = 2, 3, (5, 6)
TRAININGS = {"seq_bn": (120, 0.02), "lora": (120, 0.02), "ia3": (200, 0.1)}  # updates and learning rate


def planted_rows(count: int, seed: int) -> Rows:
    """Rows of four tokens that mean nothing, with none, one or both of two words among them."""
    random, ids, labels = np.random.default_rng(seed), [], []
    for _ in range(count):
        row, there = [START, *random.integers(10, 40, 4).tolist(), END], random.integers(0, 2, 2)
        for word, is_there in zip(WORDS, there, strict=True):
            if is_there:
                row.insert(int(random.integers(1, len(row))), word)
        ids.append(row)
        labels.append(int(there[0] != there[1]))
    columns = {
        "row": list(range(count)), "content": [f"{seed}-{number}" for number in range(count)], "input_ids": ids,
        "token_type_ids": [[0] * len(row) for row in ids], "length": [len(row) for row in ids],
        "truncated": [False] * count, "label": labels,
    }  # fmt: skip
    return Rows(pa.table(columns, schema=KINDS[INFO.kind].prepared_schema()), INFO)


@pytest.fixture(scope="module")
def parts() -> dict[str, TaskParts]:
    scored = {"dev": planted_rows(200, 4)}
    return {INFO.name: TaskParts(planted_rows(400, 1), planted_rows(8, 2), planted_rows(20, 3), scored)}


def accuracy(encoder: Path, parts: dict[str, TaskParts], adapter: str, frozen: bool = False) -> float:
    """On dev rows after a short training, in which adapters that are `frozen` stay as they began."""
    updates, rate = TRAININGS[adapter]
    training = adapter_training(
        adapter, max_steps=updates, per_device_train_batch_size=32, learning_rate=rate, head_dropout=0.0
    )
    method, _ = build_method(encoder, "shared", parts, training)
    for tensor in method.model.bank.parameters():
        tensor.requires_grad_(not frozen)
    Trainer(method, parts, training, "fp32", 500, Hooks()).run()
    (found,) = [row["value"] for row in method.context.records["metrics"] if row["final"] and row["split"] == "dev"]
    return found


@pytest.mark.parametrize("adapter", TRAININGS)
def test_a_planted_rule_is_learnt(encoder: Path, parts: dict[str, TaskParts], adapter: str) -> None:
    assert accuracy(encoder, parts, adapter) >= 0.95


def test_a_head_alone_does_not_learn_it(encoder: Path, parts: dict[str, TaskParts]) -> None:
    assert accuracy(encoder, parts, "lora", frozen=True) < 0.85
