"""What the encoder says of a task's rows under any task's adapter: the states that the task's head would read."""

from __future__ import annotations

import numpy as np
import torch

from adaptershare_cli.data.batches import Rows, ordered_batches
from adaptershare_cli.model.adapters.bank import no_adapter
from adaptershare_cli.model.heads import MultiTaskModel

BATCH_ROWS = 64


@torch.inference_mode()
def answer_features(
    model: MultiTaskModel, task: str, rows: Rows, pad_token: int, source: str | None, layer: int | None = None
) -> np.ndarray:
    """The states (A, H) that the head of `task` reads of its rows, in the order of `rows.answers`, float32.

    The rows pass through the adapters of the task `source`, or through the bare encoder (None). `layer` counts the
    layers whose output is read (0: the embeddings); by default it is the last one's, after a final norm if there is
    one. Raises ValueError for a layer that the encoder does not have.
    """
    depth = model.encoder.config.num_hidden_layers
    if layer is not None and not 0 <= layer <= depth:
        raise ValueError(f"the encoder has layers 0 to {depth}, not {layer}")
    model.eval()
    found: np.ndarray | None = None
    for batch in ordered_batches(task, rows, BATCH_ROWS, pad_token):
        with model.bank.active(source) if source is not None else no_adapter():
            hidden = model.encode(batch.inputs) if layer is None else model.encode_layer(batch.inputs, layer)
        states = model.answer_states(hidden, batch.inputs["attention_mask"], batch.targets).float().cpu().numpy()
        if found is None:
            found = np.zeros((len(rows.answers), states.shape[1]), dtype=np.float32)
        found[rows.answers.of_rows(batch.indices)] = states
    assert found is not None, "there are no rows"
    return found
