"""From texts to token ids, and from train to train, held-out and select rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from adaptershare_cli.data.cutting import absent_labels, cut_parts, joined, lost_labels, sample
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import GROUP, WEIGHT, TaskInfo
from adaptershare_cli.kinds.rows.texts import folded

TOKENIZE_ROWS, TOKENIZE_BYTES = 1000, 4 * 2**20  # rows and bytes of text that are tokenised at once


@dataclass
class Prepared:
    """The parts of one task (tables of `Kind.prepared_schema`) and what was counted on the way.

    Counted are `leaked_rows`, which stand in a scored split and are dropped, those of them whose texts repeat in
    train (`repeated_leaks`), the different texts of the train rows that are left (`train_contents`), copies that no
    part holds (`aside_rows`), groups that are not parted where rows have some (`train_groups`), and of each part its
    downloaded rows, the inputs that are truncated, and what the kind of the task counts (`Kind.counts`). `lost` and
    `absent` are labels: see `cutting`.
    """

    parts: dict[str, pa.Table]
    counts: dict[str, int] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)


def content_hash(*texts: str | None) -> str:
    """Hash of a whole row's texts, each `folded` (Unicode NFKC, case and white space). 32 hex digits."""
    parts = [folded(text or "") for text in texts]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def groups_of(table: pa.Table) -> list[str | None] | None:
    """The group of each downloaded row; None where the task has none."""
    return table[GROUP].to_pylist() if GROUP in table.column_names else None


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
    keep_leaks: bool = False,
) -> Prepared:
    """Cut and tokenise one downloaded task.

    `splits` are its tables (`Kind.downloaded_schema`). Scored splits keep `max_eval` rows, of each label its share.
    With `keep_leaks` train rows that stand in a scored split are rows like others.
    """
    kind = KINDS[info.kind]
    content = {name: [content_hash(*texts) for texts in kind.texts(table)] for name, table in splits.items()}
    scored = [name for name in splits if name != "train"]
    strata = {name: kind.strata(table) for name, table in splits.items()}
    labels = kind.row_labels(splits["train"])
    leaks = set() if keep_leaks else {key for name in scored for key in content[name]}
    together = joined(content["train"], groups_of(splits["train"]))
    cut = cut_parts(content["train"], strata["train"], labels, leaks, heldout_size, select_size, max_train, together)
    rows = {name: ("train", indices) for name, indices in cut.parts.items()}
    for name in scored:
        rows[name] = (name, sample(content[name], strata[name], max_eval))
    mean = _mean_weight(info, splits["train"], cut.parts["train"])
    copies = Counter(content["train"])
    prepared = Prepared(
        {},
        {
            "leaked_rows": len(cut.leaks),
            "repeated_leaks": sum(copies[content["train"][row]] > 1 for row in cut.leaks),
            "train_contents": len(copies.keys() - leaks),
            "aside_rows": len(cut.aside),
            **({"train_groups": len(set(together))} if groups_of(splits["train"]) else {}),
        },
        lost_labels(info.labels, labels, cut),
        absent_labels(info.labels, strata["train"], cut),
    )
    for part, (split, indices) in rows.items():
        table = splits[split].take(pa.array(indices, pa.int64()))
        keys = [content[split][index] for index in indices]
        encoded = encode_rows(info, table, keys, tokenizer, max_seq_length, progress)
        if WEIGHT in table.column_names and split == "train":
            encoded = _weighted(encoded, table, mean)
        prepared.parts[part] = encoded
        counts = {
            "rows": len(indices),
            "truncated": sum(encoded["truncated"].to_pylist()),
            **kind.counts(table, encoded, tokenizer),
        }
        prepared.counts.update({f"{part}_{name}": count for name, count in counts.items()})
    return prepared


def _mean_weight(info: TaskInfo, train: pa.Table, rows: list[int]) -> float:
    """The mean weight of train's rows; 1 where they have none. UserError where all are 0."""
    if WEIGHT not in train.column_names or not rows:
        return 1.0
    mean = float(np.mean(train[WEIGHT].to_numpy()[rows]))
    if mean == 0:
        raise UserError(f"Task {info.name}: every train row has the weight 0", fix="Name another column, or none.")
    return mean


def _weighted(encoded: pa.Table, table: pa.Table, mean: float) -> pa.Table:
    """Prepared rows with the weight of each, divided by the mean: losses keep their size. A row may have several."""
    of_row = dict(zip(table["row"].to_pylist(), table[WEIGHT].to_pylist(), strict=True))
    weights = [of_row[row] / mean for row in encoded["row"].to_pylist()]
    return encoded.append_column(pa.field(WEIGHT, pa.float32(), nullable=False), pa.array(weights, pa.float32()))


def encode_rows(
    info: TaskInfo,
    table: pa.Table,
    keys: list[str],
    tokenizer: Any,
    max_length: int,
    progress: Callable[[int], None] = lambda rows: None,
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
