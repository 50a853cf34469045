"""Encoders and tokenizers that cannot be used, or only in part: one message, exit code 2, nothing half made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Share, call, good, made_by, only, refused


def spoil_encoder(encoder: Path, folder: Path, **config: Any) -> Path:
    copy = Path(shutil.copytree(encoder, folder))
    if config:
        content = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**content, **config}))
    return copy


def test_encoder_that_is_none(share: Share, encoder: Path, tmp_path: Path) -> None:
    def check(model: Any, *says: str) -> None:
        refused(*share(tmp_path / "w", "--model", model), says=says)
        assert not made_by(tmp_path / "w", "prepro")

    check(encoder / "config.json", "not a folder", str(encoder / "config.json"))
    check(tmp_path / "nowhere", "not a folder", str(tmp_path / "nowhere"))
    check("nobody/no-such-encoder", "nobody/no-such-encoder", "hub", "--model embedded")
    check("embeded", "'embeded'", "hub", "--model embedded")
    (tmp_path / "empty").mkdir()
    check(tmp_path / "empty", "config.json", str(tmp_path / "empty"))

    pickled = spoil_encoder(encoder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    check(pickled, "model.safetensors", str(pickled), "safetensors", "pickle")
    check(spoil_encoder(encoder, tmp_path / "t5", model_type="t5"), "'t5'", "bert, roberta, distilbert, electra")
    broken = spoil_encoder(encoder, tmp_path / "broken")
    (broken / "config.json").write_text("{")
    check(broken, "config.json", str(broken))
    mute = spoil_encoder(encoder, tmp_path / "mute")
    for file in mute.glob("*token*"):
        file.unlink()
    check(mute, "tokenizer", str(mute))


def test_max_seq_length_beyond_the_encoder(share: Share, tmp_path: Path) -> None:
    refused(*share(tmp_path / "w", "--max-seq-length", "65"), says=("65", "64", "--max-seq-length 64"))
    assert not made_by(tmp_path / "w", "prepro")


def rewritten(encoder: Path, folder: Path, file: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of an encoder with one of its JSON files changed."""
    copy = Path(shutil.copytree(encoder, folder))
    content = json.loads((copy / file).read_text())
    change(content)
    (copy / file).write_text(json.dumps(content))
    return copy


def test_a_tokenizer_without_padding(share: Share, encoder: Path, tmp_path: Path) -> None:
    model = rewritten(encoder, tmp_path / "e", "tokenizer_config.json", lambda c: c.pop("pad_token"))
    (model / "special_tokens_map.json").unlink()
    refused(*share(tmp_path / "w", "--model", model), says=("no padding token", "--model", "pad_token"))
    assert not made_by(tmp_path / "w", "prepro")


def smaller(encoder: Path, folder: Path, **sizes: int) -> Path:
    """A random encoder of another size, with the same tokenizer."""
    from transformers import AutoConfig, AutoModel

    shutil.copytree(encoder, folder)
    config = AutoConfig.from_pretrained(encoder)
    for name, size in sizes.items():
        setattr(config, name, size)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra"])
def test_rows_that_the_encoder_cannot_take(
    kind: str, share: Share, encoders: dict[str, Path], tmp_path: Path, own_project: Path
) -> None:
    """Fewer positions, words or segments than the tokenizer gives: refused before training, for every type."""
    places = 9 if kind == "roberta" else 8  # it counts from padding_idx + 1
    short = smaller(encoders[kind], tmp_path / "short", max_position_embeddings=places)
    says = ("Task first has inputs of ", "the encoder takes 8", "--max-seq-length 8")
    refused(*share(tmp_path / "w", "--model", short), says=says)
    good(*share(tmp_path / "w", "--model", short, "--max-seq-length", "8"))
    few = smaller(encoders[kind], tmp_path / "few", vocab_size=20)
    says = ("has the token number ", "the encoder knows 0 to 19", "belong together")
    refused(*share(tmp_path / "w2", "--model", few), says=says)
    if kind not in ("bert", "electra"):
        return
    add_pairs(own_project, "second")
    three = rewritten(encoders[kind], tmp_path / "three", "tokenizer.json", third_segment)
    says = ("Task second has the segment number 2, the encoder knows 0 to 1", "belong together")
    refused(*share(tmp_path / "w3", "--model", three, root=own_project), says=says)


def add_pairs(root: Path, task: str) -> None:
    """Make the task's rows pairs of texts."""
    for file in (root / "data" / "set").glob(f"{task}-*.csv"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(["text,text_pair,label", *(f"the film,{line}" for line in lines[1:])]) + "\n")


def third_segment(tokenizer: dict[str, Any]) -> None:
    """Second texts are segment 2."""
    for part in tokenizer["post_processor"]["pair"][3:]:
        next(iter(part.values()))["type_id"] = 2


def test_a_task_that_does_not_fit_is_told_before_others_are_trained(
    share: Share, encoder: Path, tmp_path: Path, own_project: Path
) -> None:
    """Trainings of tasks one after the other: all of them are looked at before the first."""
    file = own_project / "data" / "set" / "second-dev.csv"
    file.write_text(f"{file.read_text()}{'good ' * 40},a\n")
    short = smaller(encoder, tmp_path / "short", max_position_embeddings=30)
    for command in ((), ("--method", "adapterfusion")):
        arguments = share(tmp_path / "w", "--model", short, *command, root=own_project)
        if not command:
            arguments = ("train-single", *arguments[1:])
        refused(*arguments, says=("Task second has inputs of 42 tokens, the encoder takes 30", "--max-seq-length 30"))
        assert not made_by(tmp_path / "w", "train-single")


def test_segments_for_an_encoder_that_knows_none(
    share: Share, odd_encoders: dict[str, Path], tmp_path: Path, own_project: Path
) -> None:
    """They are left out, of pairs too, and by all that runs the encoder: training, fusion, measures."""
    add_pairs(own_project, "second")
    silent = rewritten(
        odd_encoders["distilbert-segments"], tmp_path / "e", "tokenizer_config.json",
        lambda c: c.update(model_input_names=["input_ids", "attention_mask"]),
    )  # fmt: skip
    few = ("--max-steps", "6", "--task-sampling", "uniform", "--method", "adapterfusion")
    good(*share(tmp_path / "w", *few, "--model", odd_encoders["distilbert-segments"], root=own_project))
    good(*share(tmp_path / "w2", *few, "--model", silent, root=own_project))
    for table in ("predictions", "attention"):
        one, other = (only(tmp_path, f"{w}/train-share/*/{table}.parquet").read_bytes() for w in ("w", "w2"))
        assert one == other
    measures = ("correlate", "--measure", "text,fisher,gradts", "--samples", "8", "--target-steps", "1", "--model")
    good(*measures, odd_encoders["distilbert-segments"], "-w", tmp_path / "w")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": "1.0", "model": {"type": "no such"}}'])
def test_a_spoilt_tokenizer(content: str, share: Share, encoder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        model = Path(shutil.copytree(encoder, tmp_path / name))
        (model / name).write_text(content)
        result = call(*share(tmp_path / "w", "--model", model))
        if name == "tokenizer_config.json" and content.startswith(("{}", '{"')):
            assert result.exit_code in (0, 2)  # what is missing there has defaults
        else:
            assert result.exit_code == 2 and "tokenizer cannot be loaded" in result.stderr, result.output
        assert "Traceback" not in result.output
