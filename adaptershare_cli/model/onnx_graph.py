"""A task's whole model, encoder, adapter and head, as one ONNX graph that needs neither torch nor `adapters`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.model.encoder import family_of, pool
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.inputs import as_arguments, example_inputs, tokenizer_call
from adaptershare_cli.templates import render

GRAPH = "model.onnx"
LOGITS = "logits"
TOLERANCE = 1e-4  # how far the graph's outputs may lie from torch's
EXTRA = "onnx"  # what pip installs for it
_SIZES = ((1, 3), (2, 16), (5, 41))  # rows and tokens that the finished graph is tried with
_MANY = 1 << 16  # tokens of a row, for an encoder that has no limit


def needs_onnx() -> None:
    """Raise UserError unless the packages that write and run graphs are there."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        fix = f"pip install 'adaptershare-cli[{EXTRA}]'"
        raise UserError(f"ONNX graphs need the package {error.name}", "--format onnx", fix) from error


def write_graph(model: MultiTaskModel, task: str, file: Path) -> float:
    """Write the graph of `task`; gives the largest difference to torch's outputs on rows of several sizes.

    Inputs: `input_ids`, `attention_mask` and, where the encoder knows segments, `token_type_ids`, each (B, S) int64.
    Output: `logits`, (B, outputs) of a head that reads pooled states, (B, S, outputs) of one that reads tokens.
    Raises UserError for a head that no such graph can hold, RunError where the difference is more than `TOLERANCE`.
    """
    kind = KINDS[model.infos[task].kind]
    if kind.states > 1:
        raise UserError(f"The head of task {task} reads several states at once: there is no graph of it", "--format")
    whole = _Whole(model, task).eval()
    inputs = example_inputs(model.encoder, *_SIZES[1])
    sizes = {0: torch.export.Dim("rows", min=1), 1: torch.export.Dim("tokens", min=1, max=_positions(model))}
    with _quiet():
        program = torch.onnx.export(
            whole, tuple(inputs.values()), dynamo=True, verbose=False,
            input_names=[*inputs], output_names=[LOGITS], dynamic_shapes=((sizes,) * len(inputs),),
        )  # fmt: skip
    assert program is not None, "the exporter that uses torch.export gives a program"
    program.save(str(file))
    return _checked(model, whole, task, file)


def graph_usage(model: MultiTaskModel, task: str, tokenizer: Any, max_length: int, worst: float) -> str:
    """How the graph of `task` is run on texts, as Markdown; `worst` is what `write_graph` gave."""
    kind = KINDS[model.infos[task].kind]
    call = {n: value for n, value in tokenizer_call(model.encoder, tokenizer).items() if n != "return_token_type_ids"}
    return render(
        "model/templates/use_onnx.md.j2",
        worst=max(worst, 1e-7),
        tokens=bool(kind.pooling),
        max_length=max_length,
        inputs=[*example_inputs(model.encoder, 1, 2)],
        output_note=kind.output_note,
        tokenizer_options=kind.tokenizer_options,
        tokenizer_call=as_arguments(call),
    )


class _Whole(nn.Module):
    """The pass of one task as a module that takes tensors alone."""

    def __init__(self, model: MultiTaskModel, task: str) -> None:
        super().__init__()
        self.encoder, self.head = model.encoder, model.heads[task]
        self._model, self._task = model, task
        self._names = [*example_inputs(model.encoder, 1, 2)]

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        model, inputs = self._model, dict(zip(self._names, tensors, strict=True))
        with model.active(self._task):
            hidden = model.encode(inputs, model.weights(self._task))
        if KINDS[model.infos[self._task].kind].pooling:  # the head reads tokens
            return self.head(hidden)
        return self.head(pool(hidden, inputs["attention_mask"], model.pooling))


def _positions(model: MultiTaskModel) -> int:
    return family_of(model.encoder).positions(model.encoder.config) or _MANY


@torch.inference_mode()
def _checked(model: MultiTaskModel, whole: _Whole, task: str, file: Path) -> float:
    worst = 0.0
    session = _session(file)
    for rows, tokens in _SIZES:
        inputs = example_inputs(model.encoder, rows, min(tokens, _positions(model)))
        wanted = whole(*inputs.values()).numpy()
        (found,) = session.run([LOGITS], {name: tensor.numpy() for name, tensor in inputs.items()})
        worst = max(worst, float(np.abs(wanted - found).max()))
    if not worst <= TOLERANCE:
        raise RunError(f"The graph's outputs differ from the model's by {worst:.1e}", where=f"task {task}")
    return worst


def _session(file: Path):  # type: ignore[no-untyped-def]  # onnxruntime has no types
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are not there and of names of sizes."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
