"""How methods answered a task's scored rows: confusions, the rows that sharing fixed and broke, the hardest rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import Kind, TaskInfo
from adaptershare_cli.reporting.page.facts import AnswersFacts, RowFacts
from adaptershare_cli.runs.served import run_infos
from adaptershare_cli.store.artefact import Artefact
from adaptershare_cli.store.records import RunRecord
from adaptershare_cli.studies.pairing import Prepared, predictions_of

SHOWN_ROWS = 10  # of each list
SHOWN_WORDS = 12  # of a row that has many answers: those that are wrong
SHOWN_POINTS = 400
LONGEST = 2000  # characters of a text that stand in the page
Place = tuple[str, int]  # split and row


@dataclass
class MethodAnswers:
    """What one method said of each row: the mean error over its seeds, and its answers in words, the commonest one."""

    kind: Kind
    errors: dict[Place, float] = field(default_factory=dict)
    by_seed: list[dict[Place, float]] = field(default_factory=list)
    said: dict[Place, str] = field(default_factory=dict)
    labels: dict[Place, str] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    numbers: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class AnswersOf:
    """What is known of one task's answers, as fields of `TaskFacts`."""

    methods: Mapping[str, MethodAnswers]
    texts: Mapping[Place, tuple[str, ...]]

    def facts(self) -> dict[str, Any]:
        """The fields: answers, hardest rows, and, where there are two methods, what the first fixed and broke."""
        told = [AnswersFacts(name, dict(one.counts), one.numbers[:SHOWN_POINTS]) for name, one in self.methods.items()]
        fields: dict[str, Any] = {"answers": told, "hardest": self._hardest()}
        if len(self.methods) == 2:
            fields |= self._changed(*self.methods.items())
        return fields

    def _hardest(self) -> list[RowFacts]:
        """The rows with the highest mean error over the methods."""
        places = [place for one in self.methods.values() for place in one.errors]
        errors = {place: fmean(one.errors[place] for one in self.methods.values() if place in one.errors)
                  for place in dict.fromkeys(places)}  # fmt: skip
        worst = sorted((place for place in errors if errors[place] > 0), key=lambda place: (-errors[place], place))
        return [self._row(place, errors[place]) for place in worst[:SHOWN_ROWS]]

    def _changed(self, sharing: tuple[str, MethodAnswers], private: tuple[str, MethodAnswers]) -> dict[str, Any]:
        (name, one), (other_name, other) = sharing, private
        common = [place for place in one.errors if place in other.errors]
        gains = {place: other.errors[place] - one.errors[place] for place in common}
        order = sorted(common, key=lambda place: (-abs(gains[place]), place))
        fixed, broke = ([place for place in order if sign * gains[place] > 0] for sign in (1, -1))
        fields: dict[str, Any] = {
            "sharing": name,
            "private": other_name,
            "fixed": [self._row(place, gains[place]) for place in fixed[:SHOWN_ROWS]],
            "broke": [self._row(place, gains[place]) for place in broke[:SHOWN_ROWS]],
        }
        if one.kind.labelled and common and one.by_seed and other.by_seed:
            pairs = list(zip(one.by_seed, other.by_seed, strict=False))
            better, worse = (
                fmean(sum(sign * (b[place] - a[place]) > 0 for place in common) for a, b in pairs) for sign in (1, -1)
            )
            fields["counted"] = (better, worse, len(common))
        return fields

    def _row(self, place: Place, error: float) -> RowFacts:
        label = next(one.labels[place] for one in self.methods.values() if place in one.labels)
        said = {name: one.said[place] for name, one in self.methods.items() if place in one.said}
        return RowFacts(*place, self.texts.get(place), label, said, round(abs(error), 3))


def answers_of(
    prepared: Prepared, task: str, runs: Mapping[str, Sequence[Artefact]], order: Sequence[str]
) -> AnswersOf:
    """What the runs of each method said of the task's scored rows; runs whose predictions are damaged are left out."""
    methods: dict[str, MethodAnswers] = {}
    texts: dict[Place, tuple[str, ...]] = {}
    for name in order:
        found = [answers for run in runs[name] if (answers := _of_run(run, task)) is not None]
        if found:
            methods[name] = _joined(found)
    if methods:
        texts = _texts(prepared, task, next(run for name in methods for run in runs[name]), methods)
    return AnswersOf(methods, texts)


def _texts(
    prepared: Prepared, task: str, run: Artefact, methods: Mapping[str, MethodAnswers]
) -> dict[Place, tuple[str, ...]]:
    """The texts of all rows, cut where they are very long."""
    found: dict[Place, tuple[str, ...]] = {}
    kind = next(iter(methods.values())).kind
    for split in dict.fromkeys(split for one in methods.values() for split, _ in one.labels):
        for row, texts in prepared.texts(RunRecord.of(run).prepro[task], split, kind).items():
            found[split, row] = tuple(map(_cut, filter(None, texts)))
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"


def _joined(runs: Sequence[MethodAnswers]) -> MethodAnswers:
    """The seeds of a method as one."""
    errors: dict[Place, list[float]] = defaultdict(list)
    said: dict[Place, Counter[str]] = defaultdict(Counter)
    joined = MethodAnswers(runs[0].kind)
    for run in runs:
        for place, error in run.errors.items():
            errors[place].append(error)
            said[place][run.said[place]] += 1
        joined.labels |= run.labels
        joined.counts += run.counts
        joined.numbers += run.numbers
        joined.by_seed.append(run.errors)
    joined.errors = {place: fmean(values) for place, values in errors.items()}
    joined.said = {place: _commonest(counts, len(runs)) for place, counts in said.items()}
    return joined


def _commonest(counts: Counter[str], runs: int) -> str:
    (text, count) = counts.most_common(1)[0]
    return text if count == runs else f"{text} ({count} of {runs} seeds)"


def _of_run(run: Artefact, task: str) -> MethodAnswers | None:
    info = run_infos(run, RunRecord.of(run), [task])[task]
    kind = KINDS[info.kind]
    if f"{kind.predictions_table}.parquet" not in run.meta["files"]:
        return None
    try:
        rows = predictions_of(run, kind, task).to_pylist()
    except UserError:
        return None
    if not rows:
        return None
    answers = MethodAnswers(kind)
    by_place: dict[Place, list[tuple[dict[str, Any], float]]] = defaultdict(list)
    for row, error in zip(rows, _errors(kind, info, rows), strict=True):
        by_place[row["split"], row["row"]].append((row, error))
        if kind.labelled:
            answers.counts[row["label"], row["prediction"]] += 1
        elif kind.ranged:
            answers.numbers.append((float(row["label"]), float(row["prediction"])))
    for place, found in by_place.items():
        answers.errors[place] = fmean(error for _, error in found)
        answers.labels[place], answers.said[place] = _words(kind, found)
    return answers


def _errors(kind: Kind, info: TaskInfo, rows: Sequence[dict[str, Any]]) -> list[float]:
    """How wrong each answer is."""
    known = {*info.names}
    extra = sorted({row[name] for row in rows for name in ("label", "prediction")} - known) if kind.labelled else []
    info = replace(info, unseen=(*info.unseen, *extra))
    labels, said = (kind.label_values(info, [row[name] for row in rows]) for name in ("label", "prediction"))
    return kind.errors(labels, said).tolist()


def _words(kind: Kind, answers: Sequence[tuple[dict[str, Any], float]]) -> tuple[str, str]:
    """What is right and what was said of a row: of several answers those that are wrong, with their words."""
    first = answers[0][0]
    if "word" not in first:
        return tuple(_short(kind, first[name]) for name in ("label", "prediction"))  # type: ignore[return-value]
    wrong = [row for row, error in answers if error]
    label, said = (
        " ".join(f"{row['word']}/{row[name]}" for row in wrong[:SHOWN_WORDS])
        + (" …" if len(wrong) > SHOWN_WORDS else "")
        for name in ("label", "prediction")
    )
    return label or "all words right", said or "all words right"


def _short(kind: Kind, text: str) -> str:
    """A number as people read it; a label as it is."""
    return f"{float(text):.3g}" if kind.ranged else text
