"""Small random encoders of every supported type, with a word-level tokenizer, made once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for another leaves the core to other tests
# Seconds are the machine's, and how busy it is: an example that takes longer than 200 ms there is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

WORDS = (
    "the a film food was good bad fine dull great awful service plot actor soup salad fresh stale not very never "
    "quite i we they liked hated loved it and but with more less than bank card pay lost help open close"
).split()
ENCODER_TYPES = ("bert", "roberta", "distilbert", "electra")
WITH_SEGMENTS = ["input_ids", "token_type_ids", "attention_mask"]
# Encoders whose tokenizers say more or less than they take: type, options of the tokenizer, of the configuration.
ODD_ENCODERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "distilbert-segments": ("distilbert", {"model_input_names": WITH_SEGMENTS}, {}),
    "roberta-segments": ("roberta", {"model_input_names": WITH_SEGMENTS}, {"type_vocab_size": 1}),
    "bert-without-segments": ("bert", {"model_input_names": ["input_ids", "attention_mask"]}, {}),
    "bert-five-segments": ("bert", {}, {"type_vocab_size": 5}),
    "bert-without-mask": ("bert", {"model_input_names": ["input_ids", "token_type_ids"]}, {}),
    "electra-padded-left": ("electra", {"padding_side": "left"}, {}),
}


def make_encoder(
    folder: Path,
    model_type: str,
    layers: int = 2,
    hidden: int = 32,
    of_tokenizer: Mapping[str, Any] | None = None,
    of_config: Mapping[str, Any] | None = None,
) -> Path:
    """Save a random encoder of `model_type` and a tokenizer into `folder`, made with further options."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS, *map(chr, range(97, 123))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "attention_mask"]
    if model_type in ("bert", "electra"):
        names.insert(1, "token_type_ids")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64, **{"model_input_names": names, **(of_tokenizer or {})},
    )  # fmt: skip
    sizes: dict[str, Any] = {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    if model_type == "distilbert":
        sizes = {"n_layers": layers, "dim": hidden, "n_heads": 2, "hidden_dim": 64}
    if model_type == "electra":
        sizes["embedding_size"] = 16
    sizes |= of_config or {}
    # RoBERTa counts positions from padding_idx + 1
    config = AutoConfig.for_model(
        model_type, vocab_size=len(vocabulary), max_position_embeddings=66, pad_token_id=0, **sizes
    )
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """What tests in this process need not do: wait for the disk, whose power does not fail, and build the same command
    for each call. Processes that tests start do wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(typer.testing, "_get_command", cache(typer.testing._get_command))
        yield


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of a small random encoder by type."""
    root = tmp_path_factory.mktemp("encoders")
    return {kind: make_encoder(root / kind, kind) for kind in ENCODER_TYPES}


@pytest.fixture(scope="session")
def odd_encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each of `ODD_ENCODERS`."""
    root = tmp_path_factory.mktemp("odd-encoders")
    return {
        name: make_encoder(root / name, kind, of_tokenizer=of_tokenizer, of_config=of_config)
        for name, (kind, of_tokenizer, of_config) in ODD_ENCODERS.items()
    }


@pytest.fixture(scope="session")
def encoder(encoders: dict[str, Path]) -> Path:
    """Folder of the small random BERT."""
    return encoders["bert"]


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The process that `Command` (`tests.faults.processes`) forks commands from; no command outlives the tests."""
    from tests.cli.conftest import ENVIRONMENT
    from tests.faults.processes import kill_all, start_server

    start_server(ENVIRONMENT, tmp_path_factory.mktemp("server") / "log")
    yield
    kill_all()
