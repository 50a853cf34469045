"""From the body of a request to a question that can be answered, or to why it cannot. No torch, and no HTTP library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from adaptershare_cli.data.names import near_names, readable, shortened
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.texts import excerpt, told
from adaptershare_cli.serving.columns import PAIR
from adaptershare_cli.serving.rows import Call, Question, Row, RowCheck
from adaptershare_cli.serving.web.bodies import PredictBody
from adaptershare_cli.serving.web.refused import Refused

ALL, TEXT = "all", "text"
TOLD = 5  # faults that a message spells out


class Asking:
    """The tasks of a run that may be asked; `pairs` tells which read pairs of texts, as far as that is known.

    A request has at most `most_rows`.
    """

    def __init__(self, infos: Mapping[str, TaskInfo], pairs: Mapping[str, bool | None], most_rows: int) -> None:
        self.infos, self.pairs, self.most_rows = infos, pairs, most_rows

    def question(self, body: bytes) -> Question:
        """What a request asks. Raises Refused for one that cannot be answered."""
        asked = _parsed(body)
        tasks = self._tasks(asked.task)
        if asked.top_k is not None and not any(KINDS[self.infos[task].kind].ranks_labels for task in tasks):
            raise Refused(422, "top_k has no effect: no task that is asked has labels for whole rows", "top_k")
        rows, names = self._rows(asked)
        calls = []
        for roles, alike in self._readings(tasks, rows).items():
            read: list[Row] = [{role: row.get(role) for role in roles} for row in rows]
            self._check(alike, read, names)
            calls.append(Call(tuple(alike), read))
        return Question(tasks, len(rows), calls, asked.top_k)

    def columns(self, task: str) -> list[str]:
        """What a row has for a task."""
        roles = [role for role in KINDS[self.infos[task].kind].roles if role != "label"]
        return roles if self.pairs[task] else [role for role in roles if role != PAIR]

    def _tasks(self, asked: str | list[str]) -> tuple[str, ...]:
        names = [asked] if isinstance(asked, str) else asked
        if names == [ALL] and ALL not in self.infos:
            return tuple(self.infos)
        if not names:
            raise Refused(422, "No task is named", "task", f"Name some, or leave it out for {ALL}.")
        for name in names:
            if name not in self.infos:
                fix = f"{near_names(excerpt(name), self.infos)}Tasks: {', '.join(self.infos)}; or {ALL}."
                raise Refused(404, f"There is no task {readable(excerpt(name))!r}", "task", shortened(fix))
        return tuple(dict.fromkeys(names))

    def _rows(self, asked: PredictBody) -> tuple[list[Row], list[str]]:
        """The rows, and what messages call the text of each."""
        if (asked.texts is None) == (asked.rows is None):
            both = "texts and rows exclude each other" if asked.texts is not None else "There are no texts"
            fix = 'Give {"texts": ["…"]}, or for pairs {"rows": [{"text": "…", "text_pair": "…"}]}.'
            raise Refused(422, both, "body", fix)
        name, values = ("rows", asked.rows) if asked.texts is None else ("texts", asked.texts)
        assert values is not None
        if not values:
            raise Refused(422, f"{name} is empty", name, "Give at least one.")
        if len(values) > self.most_rows:
            fix = "Ask for them in several requests, or let the server take more with --max-request-rows."
            raise Refused(413, f"A request may have {self.most_rows} rows, and this one has {len(values)}", name, fix)
        if name == "texts":
            return [{TEXT: value} for value in values], [f"texts[{number}]" for number in range(len(values))]
        for number, row in enumerate(values):
            _check_keys(row, values[0], number)
        return values, [f"rows[{number}].text" for number in range(len(values))]

    def _readings(self, tasks: Sequence[str], rows: Sequence[Row]) -> dict[tuple[str, ...], list[str]]:
        """The tasks by the roles that they read; rows all have the same ones."""
        found: dict[tuple[str, ...], list[str]] = {}
        for task in tasks:
            reads = KINDS[self.infos[task].kind].roles
            if self.pairs[task] and PAIR not in rows[0]:
                fix = 'Give {"rows": [{"text": "…", "text_pair": "…"}]}, or name other tasks with "task".'
                raise Refused(422, f"The task {task} reads pairs of texts, and there is no {PAIR}", "rows", fix)
            with_pair = PAIR in reads and self.pairs[task] is not False and PAIR in rows[0]
            found.setdefault((TEXT, PAIR) if with_pair else (TEXT,), []).append(task)
        return found

    def _check(self, tasks: Sequence[str], rows: Sequence[Row], names: Sequence[str]) -> None:
        """Raise Refused where a row cannot be answered; tasks of one kind find the same faults."""
        for task in {self.infos[task].kind: task for task in reversed(tasks)}.values():
            faults = list(_faults(RowCheck(self.infos[task]), rows, names))
            if faults:
                count = "A row" if len(faults) == 1 else f"{len(faults)} rows"
                where, fix = told(faults, TOLD), "Correct it, or leave it out; rows are counted from 0."
                raise Refused(422, f"{count} cannot be answered by the task {task}: {where}", faults[0].split()[0], fix)


def _faults(check: RowCheck, rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    for row, name in zip(rows, names, strict=True):
        if wrong := check(row)[1]:
            yield f"{name if wrong.role == TEXT else name.replace(TEXT, wrong.role)} {wrong.reason}"


def _check_keys(row: Any, first: Any, number: int) -> None:
    """Raise Refused for what is no row, and for one that has other keys than the first."""
    where, roles = f"rows[{number}]", (TEXT, PAIR)
    if not isinstance(row, dict):
        raise Refused(
            422, f"{where} is not an object", where, 'For example {"text": "…"}; for texts alone use "texts".'
        )
    if unknown := [key for key in row if key not in roles]:
        key = readable(excerpt(unknown[0]))
        raise Refused(422, f"{where} has the key {key!r}", where, f"A row has {TEXT}, and for pairs {PAIR}.")
    if TEXT not in row:
        raise Refused(422, f"{where} has no {TEXT}", where, f"A row has {TEXT}, and for pairs {PAIR}.")
    if row.keys() != first.keys():
        raise Refused(422, f"{where} and rows[0] do not both have a {PAIR}", where, "Ask for them in two requests.")


def _parsed(body: bytes) -> PredictBody:
    try:
        return PredictBody.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        raise Refused(422, found[0]["msg"], "body", 'For example {"texts": ["a good film"], "task": "all"}.')
    fault = next((fault for fault in found if fault["type"] == "extra_forbidden"), found[0])
    key = str(fault["loc"][0]) if fault["loc"] else "body"
    if fault["type"] == "extra_forbidden":
        names = ", ".join(PredictBody.model_fields)
        raise Refused(422, f"There is no key {readable(excerpt(key))!r}", "body", f"Keys: {names}.")
    raise Refused(422, f"{key}: {_reason(key, fault['msg'])}", key)


def _reason(key: str, usual: str) -> str:
    return {"task": "is neither a name nor a list of names", "body": "is not an object"}.get(key, usual)
