"""Scoring: logits for all rows of a part, predictions, metrics, and what fusion modules attend to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from adaptershare_cli.data.batches import Batch, Rows, TaskInfo, ordered_batches
from adaptershare_cli.data.metrics import compute_metric
from adaptershare_cli.data.spans import is_span_metric
from adaptershare_cli.model.heads import MultiTaskModel


@torch.inference_mode()
def predict(
    logits: Callable[[Batch], torch.Tensor], task: str, rows: Rows, outputs: int, batch_size: int, pad_token: int
) -> np.ndarray:
    """Head outputs (N, outputs) in float32, in the order of `rows.labels`. The caller has set the eval mode."""
    result = np.zeros((len(rows.labels), outputs), dtype=np.float32)
    for batch in ordered_batches(task, rows, batch_size, pad_token):
        result[rows.answers(batch.indices)] = logits(batch).float().cpu().numpy()
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
    """Label indices (N,) of rows or words, or scores on the task's own scale of a regression."""
    if info.kind == "regression":
        return info.unscaled(outputs[:, 0].astype(np.float64))
    return outputs.argmax(1)


def score(info: TaskInfo, outputs: np.ndarray, rows: Rows) -> dict[str, float | None]:
    """Each of the task's metrics, None where undefined; the first is the main one."""
    predicted = predictions_of(info, outputs)
    return {
        name: compute_metric(name, *(_by_sentence(info, found, rows) for found in (predicted, rows.labels)))
        if is_span_metric(name)
        else compute_metric(name, predicted, rows.labels)
        for name in info.metrics
    }


def _by_sentence(info: TaskInfo, labels: np.ndarray, rows: Rows) -> list[list[str]]:
    """The names of all words' labels, a list a sentence: its rows, if it has several, stand one after the other."""
    assert rows.words is not None
    names = np.array(info.names, dtype=object)[labels]
    begins = np.flatnonzero(rows.words.places == 0)
    return [part.tolist() for part in np.split(names, begins[1:])]


def prediction_rows(info: TaskInfo, split: str, rows: Rows, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Rows of `schemas.PREDICTIONS`, in the order of `rows`."""
    predicted = predictions_of(info, outputs)

    def name(value: Any) -> str:
        return repr(float(value)) if info.kind == "regression" else info.labels[int(value)]

    return [
        {"task": info.name, "split": split, "row": int(row), "label": name(label), "prediction": name(guess),
         "logits": output}
        for row, label, guess, output in zip(rows.row, rows.labels, predicted, outputs, strict=True)
    ]  # fmt: skip


def word_prediction_rows(info: TaskInfo, split: str, rows: Rows, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Rows of `schemas.WORD_PREDICTIONS`, word by word in the order of `rows`."""
    words = rows.words
    assert words is not None
    columns = zip(
        np.repeat(rows.row, np.diff(words.offsets)), words.places, words.texts, rows.labels,
        predictions_of(info, outputs), outputs, strict=True,
    )  # fmt: skip
    return [
        {"task": info.name, "split": split, "row": int(row), "place": int(place), "word": word,
         "label": info.names[label], "prediction": info.names[guess], "logits": output}
        for row, place, word, label, guess, output in columns
    ]  # fmt: skip
