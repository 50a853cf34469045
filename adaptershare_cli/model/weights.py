"""The weights in an encoder's folder: one safetensors file or shards of it, and the hash that stands for them.

No torch here, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"  # names the shards
SHARDS = "model-*.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
CONVERTIBLE = ("pytorch_model.bin", "pytorch_model.bin.index.json")  # pickles that transformers knows
WHOLE = "Download or save the encoder again, into an empty folder."
BLOCK = 2**20  # bytes that are read at once
# In the order in which safetensors writes them, the last first.
DTYPES = ("BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64").split()


def weights_hash(folder: Path, model: str) -> str:
    """The SHA-256 of the folder's weights: of `model.safetensors`, or of that file as shards would make it.

    So the same weights have the same hash, however they are cut. `model` is what --model said. Raises UserError, naming
    the file, where there is a pickle or anything else in the place of safetensors, or not all shards are there.
    """
    if (folder / WEIGHTS).is_file():
        _check_start(folder / WEIGHTS)
        return file_hash(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        shards = _shards(folder / INDEX)
        for shard in shards:
            _check_start(shard)
        return _hash_as_one(*((str(shard), *_stamp(shard)) for shard in shards))
    others = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES))
    if others:
        fix = f"If you trust whoever made it, convert it once: {_conversion(folder)}"
        if not any((folder / name).is_file() for name in CONVERTIBLE):
            fix = "Give a folder that save_pretrained of transformers wrote: it writes safetensors."
        raise UserError(
            f"There is no {WEIGHTS} in the encoder's folder, only {others}, which may be a pickle and is not unpickled",
            where=f"--model {model}",
            fix=fix,
        )
    raise UserError(
        f"There is no {WEIGHTS} in the encoder's folder, nor {INDEX}",
        where=f"--model {model}",
        fix="Give a folder that save_pretrained of transformers wrote.",
    )


def file_hash(file: Path) -> str:
    """The SHA-256 of a file; read again only where it has changed."""
    return _hash(str(file), *_stamp(file))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _hash(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _conversion(folder: Path) -> str:
    """A command that writes the folder's pickled weights as safetensors beside them."""
    place = json.dumps(str(folder), ensure_ascii=False)
    code = f"from transformers import AutoModel as M; M.from_pretrained({place}).save_pretrained({place})"
    return f"python -c {shlex.quote(code)}"


def _check_start(file: Path) -> None:
    """Raise UserError unless a file begins as safetensors do: with the length of its header, and that one's brace."""
    with open(file, "rb") as opened:
        start = opened.read(9)
    if len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= file.stat().st_size - 8:
        return
    kind, fix = "no safetensors file", f"Nothing else is read, nor unpickled. {WHOLE}"
    if start.startswith((b"\x80", b"PK")):
        kind = "a pickle, which is not unpickled"
        fix = f"If you trust it, rename it to pytorch_model.bin and run: {_conversion(file.parent)}"
    elif start.startswith(b"version "):
        kind, fix = "a pointer of Git LFS, not the file itself", f"Run `git lfs pull` in {file.parent}."
    raise UserError(f"{file.name} is {kind}", where=str(file), fix=fix)


def _shards(index: Path) -> list[Path]:
    """The files that an index names, sorted. Raises UserError unless all of them are in its folder."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        names = sorted(set(content["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{INDEX} does not say where weights are", where=str(index), fix=WHOLE) from error
    if not names:
        raise UserError(f"{INDEX} names no file", where=str(index), fix=WHOLE)
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or any(sign in name for sign in "\\:\0"):
            raise UserError(f"{INDEX} names {name!r}, which is no file of its folder", where=str(index), fix=WHOLE)
        if not (index.parent / name).is_file():
            raise UserError(
                f"{INDEX} names {name}, which is not there", where=str(index.parent), fix="Copy all shards into it."
            )
    return [index.parent / name for name in names]


@dataclass(frozen=True)
class _Tensor:
    """A tensor of a shard: its entry there, and which bytes of the file it has."""

    name: str
    dtype: str
    shape: list[int]
    file: str
    start: int
    end: int


@lru_cache(maxsize=8)
def _hash_as_one(*shards: tuple[str, int, int]) -> str:
    """The SHA-256 of the one file that safetensors writes of all shards' tensors; each with size and time."""
    tensors = [tensor for path, size, _ in shards for tensor in _tensors(path, size)]
    tensors.sort(key=lambda tensor: (-DTYPES.index(tensor.dtype) if tensor.dtype in DTYPES else 1, tensor.name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for tensor in tensors:
        end = place + tensor.end - tensor.start
        header[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256(len(text).to_bytes(8, "little") + text)
    for tensor in tensors:
        with open(tensor.file, "rb") as file:
            file.seek(tensor.start)
            while block := file.read(min(BLOCK, tensor.end - file.tell())):
                digest.update(block)
    return digest.hexdigest()


def _tensors(path: str, size: int) -> Iterator[_Tensor]:
    """The tensors that a shard of that many bytes says it holds. Raises UserError for a header that is damaged."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = (8 + length + int(offset) for offset in entry["data_offsets"])
                if not 8 + length <= start <= end <= size:
                    raise ValueError("a tensor lies outside of the file")
                yield _Tensor(name, str(entry["dtype"]), list(entry["shape"]), path, start, end)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{Path(path).name} is damaged: {error}", where=path, fix=WHOLE) from error
