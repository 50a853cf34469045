"""Scoring: logits for all rows of a part, predictions, metrics, and what fusion modules attend to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from adaptershare_cli.data.batches import Batch, Rows, TaskInfo, ordered_batches
from adaptershare_cli.data.metrics import compute_metric
from adaptershare_cli.model.heads import MultiTaskModel


@torch.inference_mode()
def predict(
    logits: Callable[[Batch], torch.Tensor], task: str, rows: Rows, outputs: int, batch_size: int, pad_token: int
) -> np.ndarray:
    """Head outputs (N, outputs) in float32, in the order of `rows`. The caller has put the model in eval mode."""
    result = np.zeros((len(rows), outputs), dtype=np.float32)
    for batch in ordered_batches(task, rows, batch_size, pad_token):
        result[batch.indices] = logits(batch).float().cpu().numpy()
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
        inputs = {name: tensor.to(model.device) for name, tensor in batch.inputs.items()}
        with model.active(task):
            found = model.encoder(**inputs, output_adapter_fusion_attentions=True)["adapter_fusion_attentions"]
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


def predictions_of(info: TaskInfo, outputs: np.ndarray) -> np.ndarray:
    """Label indices (N,) of a classification, or scores on the task's own scale of a regression."""
    if info.kind == "classification":
        return outputs.argmax(1)
    return info.unscaled(outputs[:, 0].astype(np.float64))


def score(info: TaskInfo, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Each of the task's metrics, None where undefined; the first is the main one."""
    predicted = predictions_of(info, outputs)
    return {name: compute_metric(name, predicted, labels) for name in info.metrics}


def prediction_rows(info: TaskInfo, split: str, rows: Rows, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Rows of `schemas.PREDICTIONS`, in the order of `rows`."""
    predicted = predictions_of(info, outputs)

    def name(value: Any) -> str:
        return info.labels[int(value)] if info.kind == "classification" else repr(float(value))

    return [
        {"task": info.name, "split": split, "row": int(row), "label": name(label), "prediction": name(guess),
         "logits": output}
        for row, label, guess, output in zip(rows.row, rows.labels, predicted, outputs, strict=True)
    ]  # fmt: skip
