"""From texts to token ids, and from train to train, held-out and select rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.texts import folded

SPLIT_SALT = "adaptershare-split-1"  # raising it moves rows between the parts, so it is part of prepro's results
PARTS = ("train", "heldout", "select")  # what train is cut into
LARGEST_SHARE = 5  # held-out and select rows are each at most 1/5 of train
TOKENIZE_ROWS, TOKENIZE_BYTES = 1000, 4 * 2**20  # rows and bytes of text that are tokenised at once


@dataclass
class Prepared:
    """The parts of one task (tables of `Kind.prepared_schema`) and what was counted on the way.

    Counted are `leaked_rows`, the different texts of the train rows that are left (`train_contents`), and of each part
    its downloaded rows, the inputs that are truncated, and what the kind of the task counts (`Kind.counts`).
    """

    parts: dict[str, pa.Table]
    counts: dict[str, int] = field(default_factory=dict)


def content_hash(*texts: str | None) -> str:
    """Hash of a whole row's texts, each `folded` (Unicode NFKC, case and white space). 32 hex digits."""
    parts = [folded(text or "") for text in texts]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def cut_parts(
    content: list[str],
    strata: Sequence[Any],
    scored: Iterable[str],
    heldout_size: int,
    select_size: int,
    limit: int | None,
) -> tuple[dict[str, list[int]], int]:
    """Cut train into `heldout`, `select` and `train` row indices; also returns how many rows were dropped as leaks.

    Rows whose content stands in a scored split are dropped. The rest is ordered by a salted hash of the content, so
    rows of equal content stay together and the cut depends neither on the file's order nor on a seed. The order runs
    through all `strata` (labels, one a row) at an even pace, so that each part has them in train's proportions: a
    few held-out rows with a label too many would all push the gradient towards it. Held-out rows come first, then
    select rows (each at most a fifth of train, in whole contents), then at most `limit` train rows. Of equal contents
    only the first is held out and the others are left aside: copies would pass for rows that say the same by chance.
    """
    forbidden = set(scored)
    by_content: dict[str, list[int]] = {}
    for index, key in enumerate(content):
        if key not in forbidden:
            by_content.setdefault(key, []).append(index)
    total = sum(map(len, by_content.values()))
    order = _stratified({key: min(strata[index] for index in rows) for key, rows in by_content.items()})
    sizes = {"heldout": min(heldout_size, total // LARGEST_SHARE), "select": min(select_size, total // LARGEST_SHARE)}
    parts: dict[str, list[int]] = {"heldout": [], "select": [], "train": []}
    queue = iter(order)
    waiting = next(queue, None)
    for name, size in sizes.items():
        used = 0
        # A content that would not fit whole goes to train, so that no part exceeds its size.
        late: list[str] = []
        while waiting is not None and used < size:
            rows = by_content[waiting]
            if used + len(rows) <= size:
                used += len(rows)
                parts[name].extend(rows[:1] if name == "heldout" else rows)
            else:
                late.append(waiting)
            waiting = next(queue, None)
        for key in late:
            parts["train"].extend(by_content[key])
    while waiting is not None:
        parts["train"].extend(by_content[waiting])
        waiting = next(queue, None)
    if limit is not None:
        parts["train"] = parts["train"][:limit]
    return {name: sorted(rows) for name, rows in parts.items()}, len(content) - total


def _stratified(stratum_of: dict[str, Any]) -> list[str]:
    """The contents in an order that is random by hash, and of whose every beginning each stratum has its share."""
    order = sorted(stratum_of, key=_salted)
    sizes, seen = Counter(stratum_of.values()), Counter[Any]()
    place: dict[str, float] = {}
    for key in order:
        stratum = stratum_of[key]
        place[key] = (seen[stratum] + 0.5) / sizes[stratum]
        seen[stratum] += 1
    return sorted(order, key=lambda key: place[key])


def _salted(content: str) -> bytes:
    return hashlib.sha256(f"{SPLIT_SALT}{content}".encode()).digest()


def load_tokenizer(folder: Path, kind: str) -> Any:
    """The encoder's fast tokenizer from a local folder, for tasks of a kind. UserError where it cannot be loaded."""
    from transformers import AutoTokenizer

    options = KINDS[kind].tokenizer_options
    try:
        return AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True, **options)
    except Exception as error:  # of a spoilt file `tokenizers` says just that, and `transformers` then many things
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"The encoder's tokenizer cannot be loaded: {reason}",
            where=str(folder),
            fix="Its files must belong together; re-save or re-download the encoder.",
        ) from error


def prepare_task(
    splits: dict[str, pa.Table],
    info: TaskInfo,
    tokenizer: Any,
    max_seq_length: int,
    heldout_size: int,
    select_size: int,
    max_train: int | None,
    max_eval: int | None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Prepared:
    """Cut and tokenise one downloaded task.

    `splits` are its tables (`Kind.downloaded_schema`). Scored splits keep their first `max_eval` rows by content hash,
    so that a sample is not the file's beginning.
    """
    kind = KINDS[info.kind]
    content = {name: [content_hash(*texts) for texts in kind.texts(table)] for name, table in splits.items()}
    scored = [name for name in splits if name != "train"]
    leaks = {key for name in scored for key in content[name]}
    strata = kind.strata(splits["train"])
    cut, leaked = cut_parts(content["train"], strata, leaks, heldout_size, select_size, max_train)
    rows = {name: ("train", indices) for name, indices in cut.items()}
    for name in scored:
        rows[name] = (name, _sample(content[name], max_eval))
    contents = len(set(content["train"]) - leaks)
    prepared = Prepared({}, {"leaked_rows": leaked, "train_contents": contents})
    for part, (split, indices) in rows.items():
        table = splits[split].take(pa.array(indices, pa.int64()))
        keys = [content[split][index] for index in indices]
        encoded = _encode(info, table, keys, tokenizer, max_seq_length, progress)
        prepared.parts[part] = encoded
        counts = {
            "rows": len(indices),
            "truncated": sum(encoded["truncated"].to_pylist()),
            **kind.counts(table, encoded, tokenizer),
        }
        prepared.counts.update({f"{part}_{name}": count for name, count in counts.items()})
    return prepared


def _sample(content: list[str], limit: int | None) -> list[int]:
    if limit is None or limit >= len(content):
        return list(range(len(content)))
    salted = [_salted(key) for key in content]
    return sorted(sorted(range(len(content)), key=lambda index: (salted[index], index))[:limit])


def _encode(
    info: TaskInfo,
    table: pa.Table,
    keys: list[str],
    tokenizer: Any,
    max_length: int,
    progress: Callable[[int], None],
) -> pa.Table:
    """Downloaded rows with their content hashes as prepared ones, a few at a time, which `progress` is told."""
    kind = KINDS[info.kind]
    done: list[pa.Table] = []
    start = 0
    for rows in _slices(table, kind.text_sizes(table)):
        end = start + rows.num_rows
        done.append(kind.encode(info, rows, keys[start:end], tokenizer, max_length))
        start = end
        progress(rows.num_rows)
    return pa.concat_tables(done).combine_chunks() if done else kind.prepared_schema().empty_table()


def _slices(table: pa.Table, sizes: np.ndarray) -> Iterator[pa.Table]:
    """The table, of whose rows `sizes` are the bytes, in slices so small that tokenising one takes little memory."""
    ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < table.num_rows:
        most = TOKENIZE_BYTES + (ends[start - 1] if start else 0)
        rows = max(1, int(np.searchsorted(ends, most, side="right")) - start)
        yield table.slice(start, min(rows, TOKENIZE_ROWS))
        start += min(rows, TOKENIZE_ROWS)
