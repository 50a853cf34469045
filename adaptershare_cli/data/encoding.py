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
import pyarrow.compute as pc

from adaptershare_cli import schemas
from adaptershare_cli.data.names import folded
from adaptershare_cli.data.words import stratum, tokenise_words
from adaptershare_cli.errors import UserError

SPLIT_SALT = "adaptershare-split-1"  # raising it moves rows between the parts, so it is part of prepro's results
PARTS = ("train", "heldout", "select")  # what train is cut into
SCORE_BINS = 8  # strata of a regression
LARGEST_SHARE = 5  # held-out and select rows are each at most 1/5 of train
TOKENIZE_ROWS, TOKENIZE_BYTES = 1000, 4 * 2**20  # rows and bytes of text that are tokenised at once


BEGINNING = 100  # characters a token that are more than enough of a text


@dataclass
class Prepared:
    """The parts of one task (tables of `schemas.prepared`) and what was counted on the way.

    Counted are `leaked_rows`, the different texts of the train rows that are left (`train_contents`), and of each part
    its rows, those truncated, and those that are `blank`: only the special tokens that every row has. Of a tagging the
    rows are sentences; counted are also the words of each part, and its `windowed` sentences, of more than one input.
    """

    parts: dict[str, pa.Table]
    counts: dict[str, int] = field(default_factory=dict)


def content_hash(text: str, text_pair: str | None) -> str:
    """Hash of a whole row's texts, each `folded` (Unicode NFKC, case and white space). 32 hex digits."""
    parts = [folded(part) for part in (text, text_pair or "")]
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


def load_tokenizer(folder: Path, words: bool = False) -> Any:
    """The encoder's fast tokenizer from a local folder. Raises UserError where it cannot be loaded.

    With `words` it takes sentences as lists of words: byte-level ones (RoBERTa's) then put a blank before each word.
    """
    from transformers import AutoTokenizer

    options = {"add_prefix_space": True} if words else {}
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
    labels: tuple[str, ...],
    tokenizer: Any,
    max_seq_length: int,
    heldout_size: int,
    select_size: int,
    max_train: int | None,
    max_eval: int | None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Prepared:
    """Cut and tokenise one downloaded task.

    `splits` are its tables (`schemas.downloaded`), `labels` its label names in order (empty for a regression; of a
    tagging with those that train never has at the end). Scored splits keep their first `max_eval` rows by content hash,
    so that a sample is not the file's beginning.
    """
    words = _has_words(splits["train"])
    encode = _encode_words if words else _tokenise
    content = {name: _contents(table) for name, table in splits.items()}
    scored = [name for name in splits if name != "train"]
    leaks = {key for name in scored for key in content[name]}
    cut, leaked = cut_parts(content["train"], _strata(splits["train"]), leaks, heldout_size, select_size, max_train)
    rows = {name: ("train", indices) for name, indices in cut.items()}
    for name in scored:
        rows[name] = (name, _sample(content[name], max_eval))
    contents = len(set(content["train"]) - leaks)
    prepared = Prepared({}, {"leaked_rows": leaked, "train_contents": contents})
    for part, (split, indices) in rows.items():
        table = splits[split].take(pa.array(indices, pa.int64()))
        keys = [content[split][index] for index in indices]
        prepared.parts[part] = encode(table, keys, labels, tokenizer, max_seq_length, progress)
        prepared.counts[f"{part}_rows"] = len(indices)
        prepared.counts[f"{part}_truncated"] = sum(prepared.parts[part]["truncated"].to_pylist())
        if words:
            inputs = Counter(prepared.parts[part]["row"].to_pylist())
            prepared.counts[f"{part}_words"] = int(pc.sum(pc.list_value_length(table["text"])).as_py() or 0)
            prepared.counts[f"{part}_windowed"] = sum(count > 1 for count in inputs.values())
            prepared.counts[f"{part}_blank"] = 0  # every word has a token
            continue
        special = tokenizer.num_special_tokens_to_add(pair=bool(indices) and table["text_pair"].null_count == 0)
        lengths = prepared.parts[part]["length"].to_numpy()
        prepared.counts[f"{part}_blank"] = int((lengths <= special).sum())
    return prepared


def _strata(table: pa.Table) -> list[Any]:
    """The label of each row; of a regression which of `SCORE_BINS` equally filled bins its score lies in.

    Of a tagging whether a sentence has a label other than O: a row of many words has its labels nearly in proportion.
    """
    if _has_words(table):
        return [stratum(found) for found in table["label"].to_pylist()]
    labels = table["label"].to_numpy(zero_copy_only=False)
    if not len(labels) or labels.dtype == object:
        return labels.tolist()
    edges = np.quantile(labels, np.arange(1, SCORE_BINS) / SCORE_BINS)
    return np.searchsorted(edges, labels, side="right").tolist()


def _has_words(table: pa.Table) -> bool:
    return pa.types.is_list(table.schema.field("label").type)


def _contents(table: pa.Table) -> list[str]:
    """The content hash of each row; a sentence of words counts as the text in which blanks part them."""
    if _has_words(table):
        return [content_hash(" ".join(words), None) for words in table["text"].to_pylist()]
    return [
        content_hash(text, text_pair)
        for batch in table.select(["text", "text_pair"]).to_batches(max_chunksize=TOKENIZE_ROWS)
        for text, text_pair in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


def _sample(content: list[str], limit: int | None) -> list[int]:
    if limit is None or limit >= len(content):
        return list(range(len(content)))
    salted = [_salted(key) for key in content]
    return sorted(sorted(range(len(content)), key=lambda index: (salted[index], index))[:limit])


def _tokenise(
    table: pa.Table, keys: list[str], labels: tuple[str, ...], tokenizer: Any, max_length: int, progress: Any
) -> pa.Table:
    schema = schemas.prepared("classification" if labels else "regression")
    index = {label: number for number, label in enumerate(labels)}
    done: list[pa.Table] = []
    start = 0
    for rows in _slices(table):
        first, second = (
            [_beginning(text, tokenizer, max_length) for text in rows[name].to_pylist()]
            for name in ("text", "text_pair")
        )
        arguments = (first,) if second[0] is None else (first, second)
        encoded = tokenizer(
            *arguments, truncation="longest_first", max_length=max_length, return_overflowing_tokens=False
        )
        ids = encoded["input_ids"]
        raw = rows["label"].to_pylist()
        columns = {
            "row": rows["row"],
            "content": keys[start : start + len(ids)],
            "input_ids": ids,
            "token_type_ids": encoded.get("token_type_ids", [None] * len(ids)),
            "length": [len(row) for row in ids],
            "truncated": [bool(item.overflowing) for item in encoded.encodings],
            "label": [index[label] for label in raw] if labels else raw,
        }
        done.append(pa.table(columns, schema=schema))
        start += len(ids)
        progress(len(ids))
    return pa.concat_tables(done).combine_chunks() if done else schema.empty_table()


def _encode_words(
    table: pa.Table, keys: list[str], labels: tuple[str, ...], tokenizer: Any, max_length: int, progress: Any
) -> pa.Table:
    done: list[pa.Table] = []
    start = 0
    for rows in _slices(table):
        done.append(tokenise_words(rows, keys[start : start + rows.num_rows], labels, tokenizer, max_length))
        start += rows.num_rows
        progress(rows.num_rows)
    return pa.concat_tables(done).combine_chunks() if done else schemas.prepared("tagging").empty_table()


def _beginning(text: str | None, tokenizer: Any, max_length: int) -> str | None:
    """Of a very long text enough whole words to fill an input and more; the tokens of what follows would be cut off."""
    most = BEGINNING * max_length
    end = text.find(" ", most) if text is not None and len(text) > most else -1
    if text is None or end < 0:
        return text
    found = tokenizer(text[:end], add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return text[:end] if len(found) > max_length else text


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    """The table in slices of so few rows and bytes of text that tokenising one takes little memory."""
    if _has_words(table):
        ends_of_words = np.cumsum([0, *pc.binary_length(pc.list_flatten(table["text"])).to_numpy()])
        ends = ends_of_words[np.cumsum(pc.list_value_length(table["text"]).to_numpy())]
    else:
        sizes = sum(pc.fill_null(pc.binary_length(table[name]), 0).to_numpy() for name in ("text", "text_pair"))
        ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < table.num_rows:
        most = TOKENIZE_BYTES + (ends[start - 1] if start else 0)
        rows = max(1, int(np.searchsorted(ends, most, side="right")) - start)
        yield table.slice(start, min(rows, TOKENIZE_ROWS))
        start += min(rows, TOKENIZE_ROWS)
