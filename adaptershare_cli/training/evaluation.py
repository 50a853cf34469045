"""Scoring: logits for all rows of a part, predictions, metrics, and what fusion modules attend to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from adaptershare_cli.data.batches import Batch, Rows, ordered_batches
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.inputs import run_encoder


@torch.inference_mode()
def predict(
    logits: Callable[[Batch], torch.Tensor], task: str, rows: Rows, outputs: int, batch_size: int, pad_token: int
) -> np.ndarray:
    """Head outputs (A, outputs) in float32, in the order of `rows.answers`. The caller has set the eval mode."""
    result = np.zeros((len(rows.answers), outputs), dtype=np.float32)
    for batch in ordered_batches(task, rows, batch_size, pad_token):
        result[rows.answers.of_rows(batch.indices)] = logits(batch).float().cpu().numpy()
    return result


@torch.inference_mode()
def attention_rows(
    model: MultiTaskModel, task: str, rows: Rows, batch_size: int, pad_token: int
) -> list[dict[str, Any]]:
    """Rows of `schemas.ATTENTION`: what `task` attends to in each fused site, over `rows`.

    Attention is averaged over the tokens of a row (padding left out), then over the rows, so long rows count no more
    than short ones. One batch's attention is held at a time.
    """
    fusion = model.fusion
    assert fusion is not None
    model.eval()
    sums: dict[tuple[int, str], np.ndarray] = {}
    for batch in ordered_batches(task, rows, batch_size, pad_token):
        with model.active(task):
            given = run_encoder(model.encoder, batch.inputs, output_adapter_fusion_attentions=True)
        found = given["adapter_fusion_attentions"]
        weight = batch.inputs["attention_mask"].double().numpy()
        weight /= weight.sum(1, keepdims=True)
        for layer, sites in found.get(fusion.names[task], {}).items():
            for location, attention in sites.items():  # (B, S, adapters)
                part = np.einsum("bsn,bs->n", attention, weight)
                sums[layer, location] = sums.get((layer, location), 0.0) + part
    return [
        {"task": task, "layer": layer, "location": location, "adapter": group[0], "members": list(group),
         "attention": float(value), "rows": len(rows)}
        for (layer, location), total in sorted(sums.items())
        for group, value in zip(reversed(fusion.bank.plan.layers[layer]), total / len(rows), strict=True)
    ]  # fmt: skip


def score(info: TaskInfo, outputs: np.ndarray, rows: Rows) -> dict[str, float | None]:
    """Each of the task's metrics, None where undefined; the first is the main one."""
    return KINDS[info.kind].scores(info, outputs, rows.answers)


def prediction_rows(info: TaskInfo, split: str, rows: Rows, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Rows of the kind's table of predictions, in the order of `rows`."""
    kind = KINDS[info.kind]
    predicted = kind.predicted(info, outputs, rows.answers)
    found = kind.prediction_rows(info, rows.row, rows.answers, predicted, outputs)
    return [{"task": info.name, "split": split, **row} for row in found]
