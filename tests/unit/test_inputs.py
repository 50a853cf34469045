"""Rows as encoders take them: whatever runs an encoder gives it the same, and nothing that it does not know."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import adaptershare_cli
from adaptershare_cli.data.batches import Rows, pad
from adaptershare_cli.data.encoding import load_tokenizer, prepare_task
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.rows.tokens import BEGINNING
from adaptershare_cli.methods import METHODS
from adaptershare_cli.methods.assembled.start import Parts
from adaptershare_cli.methods.recon.start import PrivateLayers
from adaptershare_cli.model.encoder import load_encoder
from adaptershare_cli.model.inputs import Extent, check_inputs, knows_segments, run_encoder, tokenizer_call
from adaptershare_cli.model.source import locate_encoder
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.loop import Hooks, Trainer
from tests.conftest import ODD_ENCODERS
from tests.core import INFOS, build_method, random_parts, random_sources
from tests.methods import PUT_TOGETHER

CPU = torch.device("cpu")
PACKAGE = Path(adaptershare_cli.__file__).parent


def test_nothing_else_runs_an_encoder() -> None:
    """A call with unpacked inputs stands in `model.inputs` alone, so that no other place decides what is given."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)) if "(**" in text else ()
        unpacked = [node for node in calls if any(keyword.arg is None for keyword in node.keywords)]
        if "functional_call(" in text or any(ast.unparse(call.func).endswith("encoder") for call in unpacked):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"model/inputs.py"}


@pytest.mark.parametrize("name", ODD_ENCODERS)
def test_what_is_left_out(odd_encoders: dict[str, Path], name: str) -> None:
    """Segments reach an encoder that tells them apart, whatever its tokenizer calls its inputs; a mask always does."""
    encoder = load_encoder(locate_encoder(str(odd_encoders[name])), CPU)
    ids = torch.tensor([[5, 6, 7, 8], [9, 6, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long(), "token_type_ids": torch.tensor([[0, 0, 1, 1]] * 2)}
    with torch.inference_mode():
        both = run_encoder(encoder, inputs).last_hidden_state
        none = run_encoder(encoder, {n: t for n, t in inputs.items() if n != "token_type_ids"}).last_hidden_state
    assert knows_segments(encoder) == (not torch.equal(both, none)) == name.startswith(("bert", "electra"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("distilbert-segments", {"return_token_type_ids": False}),
        ("roberta-segments", {"return_token_type_ids": False}),
        ("bert-without-segments", {}),
        ("bert-five-segments", {}),
        ("bert-without-mask", {"return_attention_mask": True}),
        ("electra-padded-left", {"padding_side": "right"}),
    ],
)
def test_what_a_user_says_to_the_tokenizer(odd_encoders: dict[str, Path], name: str, expected: dict[str, Any]) -> None:
    encoder = load_encoder(locate_encoder(str(odd_encoders[name])), CPU)
    tokenizer = load_tokenizer(odd_encoders[name], "classification")
    assert tokenizer_call(encoder, tokenizer) == expected


@pytest.mark.parametrize("name", ODD_ENCODERS)
def test_a_users_call_gives_what_training_gave(odd_encoders: dict[str, Path], name: str) -> None:
    folder = odd_encoders[name]
    encoder, tokenizer = load_encoder(locate_encoder(str(folder)), CPU), load_tokenizer(folder, "classification")
    pairs = [("the film was good", "a dull plot"), ("i", "the awful service but it was cheap")]
    rows = rows_of(pairs, tokenizer)
    ours = pad([(rows, np.arange(2))], tokenizer.pad_token_id)
    call = tokenizer_call(encoder, tokenizer)
    theirs = tokenizer(*zip(*pairs, strict=True), padding=True, return_tensors="pt", **call)
    with torch.inference_mode():
        expected = run_encoder(encoder, ours).last_hidden_state
        assert torch.equal(encoder(**theirs).last_hidden_state, expected)


def rows_of(pairs: list[tuple[str, str | None]], tokenizer: Any, max_length: int = 64) -> Rows:
    """The pairs as `prepro` would prepare them."""
    first, second = zip(*pairs, strict=True)
    columns = {"row": range(len(pairs)), "text": first, "text_pair": second, "label": ["no"] * len(pairs)}
    dev = pa.table({k: list(v) for k, v in columns.items()}, schema=KINDS["classification"].downloaded_schema())
    splits = {"train": dev.slice(0, 0), "dev": dev}
    prepared = prepare_task(splits, INFOS["first"], tokenizer, max_length, 2, 1, None, None)
    return Rows(prepared.parts["dev"], INFOS["first"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_very_long_text_is_cut_where_the_tokenizer_cuts(encoder: Path, side: str) -> None:
    tokenizer = load_tokenizer(encoder, "classification")
    tokenizer.truncation_side = side
    text = "good " * (3 * BEGINNING) + "bad bad bad bad"
    rows = rows_of([(text, None)], tokenizer, 6)
    word = tokenizer.convert_tokens_to_ids("bad" if side == "left" else "good")
    assert rows.tokens.tolist() == [2, *[word] * 4, 3]


@pytest.mark.parametrize("method_name", METHODS)
def test_every_method_trains_on_segments_that_its_encoder_does_not_know(
    odd_encoders: dict[str, Path], tmp_path: Path, method_name: str
) -> None:
    """To the end, with what it records and exports."""
    folder, tasks = odd_encoders["distilbert-segments"], ("first", "score")
    training = TrainingSettings(max_steps=2, per_device_train_batch_size=4, reduction_factor=4)
    options: dict[str, Any] = {}
    if method_name == "adapterfusion":
        options = {"start": random_sources(folder, tasks, training), "task_steps": dict.fromkeys(tasks, 1)}
    if method_name == "adaptershare":
        options = {"fuse": True, "guard": "none", "max_interference": -1.0, "check_every": 1, "first_check": 1}
    if method_name == "sparse-sharing":
        options = {"rounds": 1, "round_epochs": 0.4}
    if method_name in PUT_TOGETHER:
        options = {
            "start": Parts({tuple(tasks): "all"}, {tasks[0]: random_sources(folder, tasks, training)[tasks[0]]}, {})
        }
    if method_name == "recon":
        options = {"start": PrivateLayers((1,), [])}
    if METHODS[method_name].needs_plan:
        options["plan_history"] = given_plans(tasks)
    method, parts = build_method(folder, method_name, random_parts(tasks, 12), training, **options)
    for part in parts.values():
        for rows in (part.train, part.heldout, part.select, *part.scored.values()):
            assert rows.types is not None
            rows.types[::2] = 1
    Trainer(method, parts, training, "fp32", 500, Hooks()).run()
    method.finish(tmp_path)
    for task in tasks:
        method.export(task, tmp_path / task)


def given_plans(tasks: tuple[str, ...]) -> Any:
    """A plan that is shared, and from update 1 on private."""
    from adaptershare_cli.sharing.plan import SharingPlan

    return ((0, SharingPlan.shared(tasks, 2)), (1, SharingPlan.private(tasks, 2)))


@pytest.mark.parametrize(
    ("kind", "positions", "segments"), [("bert", 66, 2), ("roberta", 65, 2), ("distilbert", 66, 0), ("electra", 66, 2)]
)
def test_the_largest_that_fits(encoders: dict[str, Path], kind: str, positions: int, segments: int) -> None:
    tokens = len(load_tokenizer(encoders[kind], "classification"))
    fits = Extent(positions, tokens - 1, max(0, segments - 1))
    check_inputs(encoders[kind], {"first": fits})
    with pytest.raises(UserError, match=f"inputs of {positions + 1} tokens.*--max-seq-length {positions} or less"):
        check_inputs(encoders[kind], {"other": fits, "first": Extent(positions + 1)})
    with pytest.raises(UserError, match=f"token number {tokens}, the encoder knows 0 to {tokens - 1}"):
        check_inputs(encoders[kind], {"first": Extent(token=tokens)})
    if segments:
        with pytest.raises(UserError, match=f"segment number {segments}, the encoder knows 0 to {segments - 1}"):
            check_inputs(encoders[kind], {"first": Extent(segment=segments)})
    else:
        check_inputs(encoders[kind], {"first": Extent(segment=9)})
