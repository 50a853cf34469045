"""Small random encoders of every supported type, with a word-level tokenizer, made once a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Seconds are the machine's, and how busy it is: an example that takes longer than 200 ms there is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

WORDS = (
    "the a film food was good bad fine dull great awful service plot actor soup salad fresh stale not very never "
    "quite i we they liked hated loved it and but with more less than bank card pay lost help open close"
).split()
ENCODER_TYPES = ("bert", "roberta", "distilbert", "electra")


def make_encoder(folder: Path, model_type: str, layers: int = 2, hidden: int = 32) -> Path:
    """Save a random encoder of `model_type` and a tokenizer into `folder`."""
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
        model_max_length=64, model_input_names=names,
    )  # fmt: skip
    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": 2, "intermediate_size": 64}
    if model_type == "distilbert":
        sizes = {"n_layers": layers, "dim": hidden, "n_heads": 2, "hidden_dim": 64}
    if model_type == "electra":
        sizes["embedding_size"] = 16
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


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of a small random encoder by type."""
    root = tmp_path_factory.mktemp("encoders")
    return {kind: make_encoder(root / kind, kind) for kind in ENCODER_TYPES}


@pytest.fixture(scope="session")
def encoder(encoders: dict[str, Path]) -> Path:
    """Folder of the small random BERT."""
    return encoders["bert"]
