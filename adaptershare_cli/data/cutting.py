"""How train is cut into parts and samples are taken, whatever repeats: rows of one text stay on one side. Pure.

A *group* are the rows of one content (a hash of the texts), a *stratum* are the rows of one label, or what else should
stand in every part in train's proportions. Where all contents differ, a part is the beginning of one order that is
random by hash and of whose every beginning each stratum has its share. Where they repeat, that order says how many
rows of each stratum a part should have, and whole groups fill it as far as they go; what is wanted then comes from
the group with the fewest rows too many, and these are left aside: they stand in no part.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

SALT = "adaptershare-split-1"  # raising it moves rows between the parts, so it is part of prepro's results
PARTS = ("train", "heldout", "select")  # what train is cut into
LARGEST_SHARE = 5  # held-out and select rows are each at most 1/5 of train
MOST_ASIDE = 20  # 1/20 of the rows may be left aside for a part to be just as it should be
MOST_BEYOND = 10  # of a group that is taken whole, rows may be beyond what is wanted: 1/10 of the part


@dataclass(frozen=True)
class Cut:
    """Row numbers of each part, ascending; `leaks` stand in a scored split, `aside` are copies that no part holds.

    `whole` are the train rows before a limit took a sample of them.
    """

    parts: dict[str, list[int]]
    leaks: list[int]
    aside: list[int]
    whole: list[int]


def cut_parts(
    content: Sequence[str],
    strata: Sequence[Any],
    labels: Sequence[Collection[Any]],
    scored: Collection[str],
    heldout_size: int,
    select_size: int,
    limit: int | None = None,
    together: Sequence[str] | None = None,
) -> Cut:
    """Cut rows into `heldout`, `select` (each at most a fifth) and `train`, and train down to `limit` rows.

    Neither the rows' order nor a seed counts. Rows whose content is among `scored` are dropped. Rows of one content are
    never parted, or those with one value of `together` (see `joined`). Of each of a row's
    `labels` the largest group stays in train, unless fewer than two groups would be left for the other parts. With at
    least three groups (and five rows) no part is empty.
    """
    leaks = [row for row, key in enumerate(content) if key in scored]
    rows = [row for row, key in enumerate(content) if key not in scored]
    groups = _groups(rows, together or content, strata)
    free = _without(groups, _largest(groups, labels))
    spare = 0
    if len(free) < 2:
        free, spare = groups, 1
    total, most = Counter(strata[row] for row in rows), sum(group.size for group in free.values())
    sizes = [min(size, len(rows) // LARGEST_SHARE) for size in (heldout_size, select_size)]
    if sum(sizes) > most:
        sizes[0] = max(1, most * sizes[0] // sum(sizes))
        sizes[1] = min(sizes[1], most - sizes[0])
    parts: dict[str, list[int]] = {}
    begun: Counter[Any] = Counter()
    aside: list[int] = []
    for name, size, later in zip(("heldout", "select"), sizes, (1, 0), strict=True):
        quota = _quota(size, free, total, begun)
        part = _Part(quota, free, len(rows) // MOST_ASIDE)
        part.fill(spare + later)
        free, groups = _without(free, part.used), _without(groups, part.used)
        parts[name] = sorted(part.rows)
        aside += part.aside
        begun += quota
    whole = _rows(groups)
    kept = whole if limit is None else sorted(in_proportion(whole, content, strata, total)[:limit])
    return Cut({**parts, "train": kept}, leaks, sorted(aside), whole)


def cut_shares(
    content: Sequence[str], strata: Sequence[Any], labels: Sequence[Collection[Any]], shares: Mapping[str, float]
) -> dict[str, list[int]]:
    """Cut rows into parts of these shares and `train`, the rest: row numbers of each, ascending.

    As `cut_parts` does: neither the rows' order nor a seed counts, rows of one text stand on one side, strata keep
    their shares as far as that allows, and of each of a row's `labels` the largest group stays in train. No row is left
    aside: a part takes all rows of its texts.
    """
    groups = _groups(range(len(content)), content, strata)
    free, spare = _without(groups, _largest(groups, labels)), 0
    if not free:
        free, spare = groups, 1
    total, begun = Counter(strata), Counter[Any]()
    parts: dict[str, list[int]] = {}
    for number, (name, share) in enumerate(shares.items(), 1):
        quota = _quota(round(share * len(content)), free, total, begun)
        part = _Part(quota, free, len(content) // MOST_ASIDE)
        part.fill(spare + len(shares) - number)
        free = _without(free, part.used)
        parts[name] = sorted(part.rows + part.aside)
        begun += quota
    taken = {row for rows in parts.values() for row in rows}
    return {"train": [row for row in range(len(content)) if row not in taken], **parts}


def joined(content: Sequence[str], groups: Sequence[str | None] | None) -> list[str]:
    """A value a row, the same for rows that must not be parted: of one content, or of one group (None for none).

    What is joined by one is joined by all: two authors of one text are one. Without any groups it is the content.
    """
    if groups is None:
        return list(content)
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def top(node: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent[above]
            node = above
        return node

    pairs = [(("text", key), ("group", group)) for key, group in zip(content, groups, strict=True) if group is not None]
    for text, group in pairs:
        first, second = sorted((top(text), top(group)))
        parent[second] = first
    tops = [top(("text", key)) for key in content]
    return [f"{kind} {name}" for kind, name in tops]


def sample(content: Sequence[str], strata: Sequence[Any], limit: int | None) -> list[int]:
    """At most `limit` rows, ascending, with each stratum in its proportion."""
    rows = range(len(content))
    return list(rows) if limit is None else sorted(in_proportion(rows, content, strata)[:limit])


def lost_labels(expected: Iterable[str], labels: Sequence[Collection[Any]], cut: Cut) -> dict[str, str]:
    """The `expected` labels that no train row has, and what took the last ones.

    `source`: there were none; `leaks`; `cut`: they stand in other parts; `sample`: the limit.
    """
    leaks = set(cut.leaks)
    stages = {
        "source": range(len(labels)),
        "leaks": [row for row in range(len(labels)) if row not in leaks],
        "cut": cut.whole,
        "sample": cut.parts["train"],
    }
    found = {stage: {label for row in rows for label in labels[row]} for stage, rows in stages.items()}
    return {
        label: next(stage for stage in stages if label not in found[stage])
        for label in expected
        if label not in found["sample"]
    }


def absent_labels(expected: Iterable[str], strata: Sequence[Any], cut: Cut) -> dict[str, list[str]]:
    """For `heldout` and `select` the strata among `expected` of which they should have a row, and have none."""
    leaks = set(cut.leaks)
    total = Counter(stratum for row, stratum in enumerate(strata) if row not in leaks)
    found: dict[str, list[str]] = {}
    for part in ("heldout", "select"):
        rows = cut.parts[part]
        there = {strata[row] for row in rows}
        fair = {label: total[label] * len(rows) / max(1, total.total()) for label in expected}
        found[part] = [label for label, count in fair.items() if count >= 1 and label not in there]
    return found


def in_proportion(
    rows: Iterable[int], content: Sequence[str], strata: Sequence[Any], total: Mapping[Any, int] | None = None
) -> list[int]:
    """The rows in an order that is random by hash, and of whose every beginning each stratum has its share.

    Shares are those of `total`, by default of the rows. Copies of a text are spread over the order as other rows are;
    which copy comes first is all that the rows' own order decides.
    """
    copies = Counter[tuple[str, Any]]()
    hashed: list[tuple[bytes, Any, int]] = []
    for row in rows:
        copy = (content[row], strata[row])
        hashed.append((_salted(content[row], copies[copy]), strata[row], row))
        copies[copy] += 1
    hashed.sort()
    total, seen = total or Counter(stratum for _, stratum, _ in hashed), Counter[Any]()
    place: dict[int, float] = {}
    for _, stratum, row in hashed:
        place[row] = (seen[stratum] + 0.5) / total[stratum]
        seen[stratum] += 1
    return sorted(place, key=place.__getitem__)


def _salted(content: str, copy: int = 0) -> bytes:
    return hashlib.sha256(f"{SALT}{content}{f' {copy}' if copy else ''}".encode()).digest()


@dataclass(frozen=True, slots=True)
class _Group:
    """The rows of one content, by stratum."""

    rows: dict[Any, list[int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.rows.values()))

    def wanted(self, wanted: Mapping[Any, int]) -> int:
        """How many of its rows are wanted, if so many are of each stratum."""
        return sum(min(len(rows), max(0, wanted[stratum])) for stratum, rows in self.rows.items())


_Groups = dict[str, _Group]  # by content, in the order of the contents' hashes


def _groups(rows: Iterable[int], content: Sequence[str], strata: Sequence[Any]) -> _Groups:
    found: dict[str, _Group] = {}
    for row in rows:
        if (group := found.get(content[row])) is None:
            group = found[content[row]] = _Group()
        group.rows.setdefault(strata[row], []).append(row)
    return {key: found[key] for key in sorted(found, key=_salted)}


def _quota(size: int, groups: _Groups, total: Mapping[Any, int], begun: Mapping[Any, int]) -> Counter[Any]:
    """How many of a part's `size` rows should be of each stratum, after so many others that have `begun`.

    They are those of the first rows of an order as `in_proportion` makes it, in which a text's copies lie together.
    """
    seen = Counter(begun)
    placed: list[tuple[float, int, Any]] = []
    for group in groups.values():
        for stratum in sorted(group.rows):
            for _ in group.rows[stratum]:
                placed.append(((seen[stratum] + 0.5) / total[stratum], len(placed), stratum))
                seen[stratum] += 1
    return Counter(stratum for *_, stratum in nsmallest(size, placed))


def _rows(groups: _Groups) -> list[int]:
    return sorted(row for group in groups.values() for rows in group.rows.values() for row in rows)


def _without(groups: _Groups, contents: Collection[str]) -> _Groups:
    return {key: group for key, group in groups.items() if key not in contents}


def _largest(groups: _Groups, labels: Sequence[Collection[Any]]) -> set[str]:
    """Of each label the content that has most rows of it, of equal ones the last."""
    best: dict[Any, tuple[int, str]] = {}
    for key, group in groups.items():
        counts: dict[Any, int] = {}
        for row in (row for rows in group.rows.values() for row in rows):
            for label in labels[row]:
                counts[label] = counts.get(label, 0) + 1
        for label, count in counts.items():
            if label not in best or count >= best[label][0]:
                best[label] = (count, key)
    return {key for _, key in best.values()}


class _Part:
    """A part in the making: `used` contents, the `rows` that it has of them, and the copies that are left `aside`.

    What is done next is done for the stratum that is short of most. Of its groups one is taken whole all of whose rows
    are wanted. Or else, in this order: a piece of the group with the fewest others, if no more than `most_aside` rows
    are left aside by then; a whole group with but few others; such a piece in any case, if the part has less than
    three quarters of what it should have of the stratum. Where none of that helps, the part stays as much smaller.
    """

    def __init__(self, quota: Counter[Any], groups: _Groups, most_aside: int) -> None:
        self.quota, self.groups, self.most_aside = quota, groups, most_aside
        self.size = sum(quota.values())
        self.wanted = Counter(quota)
        self.used: set[str] = set()
        self.rows: list[int] = []
        self.aside: list[int] = []
        self._of_stratum: dict[Any, list[str]] = {stratum: [] for stratum in quota}
        for key, group in groups.items():
            for stratum in group.rows:
                if stratum in self._of_stratum:
                    self._of_stratum[stratum].append(key)
        self._queues: dict[tuple[Any, int], Iterator[str]] = {}

    @property
    def room(self) -> int:
        """How many rows may still come."""
        return self.size - len(self.rows)

    def fill(self, spare: int) -> None:
        """Take what groups give, but for `spare` of them."""
        unfilled = sorted(self.quota)
        while unfilled and self.room and len(self.groups) - len(self.used) > spare:
            stratum = max(unfilled, key=self.wanted.__getitem__)
            if self.wanted[stratum] <= 0 or not self._step(stratum):
                unfilled.remove(stratum)

    def _step(self, stratum: Any) -> bool:
        if whole := self._fitting(stratum, 0):
            return self._take(whole, whole=True)
        left = [key for key in self._of_stratum[stratum] if key not in self.used]
        piece = min(left, key=self._others, default=None)
        if piece is not None and len(self.aside) + self._others(piece) <= self.most_aside:
            return self._take(piece, whole=False)
        if whole := self._fitting(stratum, self.size // MOST_BEYOND):
            return self._take(whole, whole=True)
        if piece is not None and 4 * self.wanted[stratum] > self.quota[stratum]:
            return self._take(piece, whole=False)
        return False

    def _others(self, key: str) -> int:
        """How many rows of a group would be left aside if it gave a piece."""
        return self.groups[key].size - min(self.room, self.groups[key].wanted(self.wanted))

    def _fitting(self, stratum: Any, most: int) -> str | None:
        """The stratum's next group that fits whole, with at most so many rows beyond.

        What is wanted only becomes less: a group that did not fit once will never fit into this part.
        """
        if (stratum, most) not in self._queues:
            self._queues[stratum, most] = iter(self._of_stratum[stratum])
        for key in self._queues[stratum, most]:
            group = self.groups[key]
            if key not in self.used and group.size <= min(self.room, group.wanted(self.wanted) + most):
                return key
        return None

    def _take(self, key: str, whole: bool) -> bool:
        rows = self.groups[key].rows
        for stratum in sorted(rows, key=lambda stratum: (-self.wanted[stratum], stratum)):
            most = len(rows[stratum]) if whole else max(0, min(self.room, self.wanted[stratum]))
            self.rows += rows[stratum][:most]
            self.aside += rows[stratum][most:]
            self.wanted[stratum] -= min(most, len(rows[stratum]))
        self.used.add(key)
        return True
