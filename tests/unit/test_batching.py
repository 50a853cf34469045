"""Questions that wait together are answered together, in order; none is lost, whatever becomes of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import dataclass, field

import pytest

from adaptershare_cli.serving import batching
from adaptershare_cli.serving.batching import Batcher, Limits, Pass, QueueFull, Stopped

SECONDS = 60  # what takes longer hangs


@dataclass(frozen=True)
class Question:
    name: str
    size: int = 1
    characters: int = 1


@dataclass
class Desk:
    """Answers a question by its name in capitals; `open` lets it, `passes` tells what it was asked together."""

    passes: list[list[str]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    busy: threading.Event = field(default_factory=threading.Event)

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        self.passes.append([question.name for question in questions])
        self.busy.set()
        assert self.open.wait(SECONDS)
        if any("bad" in question.name for question in questions):
            raise ValueError("bad")
        return [question.name.upper() for question in questions]


def started(
    desk: Desk, rows: int = 4, wait: float = 0, waiting: int = 100
) -> tuple[Batcher[Question, str], list[Pass]]:
    seen: list[Pass] = []
    batcher: Batcher[Question, str] = Batcher(lambda: desk, Limits(rows, wait, waiting), seen.append)
    batcher.start()
    return batcher, seen


def held(desk: Desk, batcher: Batcher[Question, str]) -> None:
    """Have the desk be busy with a question, so that others wait."""
    batcher.submit(Question("first"))
    assert desk.busy.wait(SECONDS)


def test_what_waits_is_answered_together_and_in_order() -> None:
    desk = Desk()
    batcher, seen = started(desk, rows=4)
    held(desk, batcher)
    sizes = {"a": 1, "b": 2, "c": 2, "d": 9, "e": 4, "f": 1}
    futures = [batcher.submit(Question(name, size)) for name, size in sizes.items()]
    assert batcher.waiting == 19
    desk.open.set()
    assert [future.result(SECONDS) for future in futures] == list("ABCDEF")
    batcher.stop()
    assert desk.passes == [["first"], ["a", "b"], ["c"], ["d"], ["e"], ["f"]]
    assert [(done.questions, done.rows) for done in seen] == [(1, 1), (2, 3), (1, 2), (1, 9), (1, 4), (1, 1)]


def test_long_texts_are_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_CHARACTERS", 10)
    desk = Desk()
    batcher, _ = started(desk, rows=100)
    held(desk, batcher)
    futures = [batcher.submit(Question(name, 1, length)) for name, length in (("a", 6), ("b", 4), ("c", 99), ("d", 1))]
    desk.open.set()
    wait(futures, SECONDS)
    batcher.stop()
    assert desk.passes[1:] == [["a", "b"], ["c"], ["d"]]


def test_a_question_waits_for_others_until_there_are_enough_rows() -> None:
    """And no longer than it may, if there never are."""
    desk = Desk()
    desk.open.set()
    batcher, _ = started(desk, rows=3, wait=SECONDS)
    begin = time.monotonic()
    futures = [batcher.submit(Question(name)) for name in "abc"]
    assert [future.result(SECONDS) for future in futures] == list("ABC")
    assert time.monotonic() - begin < SECONDS / 2
    assert desk.passes == [["a", "b", "c"]]
    batcher.stop()
    batcher, _ = started(desk, rows=3, wait=0.05)
    begin = time.monotonic()
    assert batcher.submit(Question("d")).result(SECONDS) == "D"
    assert time.monotonic() - begin >= 0.05
    batcher.stop()


def test_a_question_that_fails_fails_alone() -> None:
    desk = Desk()
    batcher, seen = started(desk, rows=10)
    held(desk, batcher)
    futures = {name: batcher.submit(Question(name)) for name in ("a", "bad", "b")}
    desk.open.set()
    assert (futures["a"].result(SECONDS), futures["b"].result(SECONDS)) == ("A", "B")
    with pytest.raises(ValueError, match="bad"):
        futures["bad"].result(SECONDS)
    assert batcher.works
    batcher.stop()
    assert desk.passes[1:] == [["a", "bad", "b"], ["a"], ["bad"], ["b"]]
    assert sum(done.questions for done in seen) == 3  # what failed is not counted


def test_there_is_no_room_for_more_rows_than_may_wait() -> None:
    desk = Desk()
    batcher, _ = started(desk, waiting=5)
    held(desk, batcher)
    futures = [batcher.submit(Question("a", 3)), batcher.submit(Question("b", 2))]
    with pytest.raises(QueueFull):
        batcher.submit(Question("c"))
    desk.open.set()
    assert [future.result(SECONDS) for future in futures] == ["A", "B"]
    assert batcher.submit(Question("c", 6)).result(SECONDS) == "C"  # nobody waits: it is let in whatever its size
    batcher.stop()


def test_what_is_given_up_makes_room_and_is_not_asked() -> None:
    desk = Desk()
    batcher, _ = started(desk, waiting=2)
    held(desk, batcher)
    given_up, kept = batcher.submit(Question("a")), batcher.submit(Question("b"))
    assert given_up.cancel()
    assert batcher.waiting == 1
    other = batcher.submit(Question("c"))
    desk.open.set()
    assert (kept.result(SECONDS), other.result(SECONDS)) == ("B", "C")
    with pytest.raises(CancelledError):
        given_up.result(SECONDS)
    batcher.stop()
    assert desk.passes == [["first"], ["b", "c"]]


def test_nothing_waits_for_others_once_there_is_a_hurry() -> None:
    desk = Desk()
    desk.open.set()
    batcher, _ = started(desk, wait=SECONDS)
    futures = [batcher.submit(Question("a"))]
    batcher.hurry()
    futures.append(batcher.submit(Question("b")))
    assert [future.result(SECONDS / 2) for future in futures] == ["A", "B"]
    batcher.stop()


def test_all_that_waits_is_answered_before_the_end_and_nothing_is_taken_after() -> None:
    desk = Desk()
    batcher, _ = started(desk, wait=SECONDS)
    futures = [batcher.submit(Question(name)) for name in "ab"]
    desk.open.set()
    begin = time.monotonic()
    batcher.stop(SECONDS)
    assert time.monotonic() - begin < SECONDS / 2  # nobody waits for others any more
    assert [future.result(0) for future in futures] == ["A", "B"]
    assert not batcher.works
    with pytest.raises(Stopped):
        batcher.submit(Question("c"))


def test_what_loading_raises_is_raised_at_the_start() -> None:
    def load() -> Desk:
        raise KeyError("no model")

    batcher: Batcher[Question, str] = Batcher(load, Limits(1, 0, 1), lambda done: None)
    with pytest.raises(KeyError, match="no model"):
        batcher.start()
    assert not batcher.works
    batcher.stop()


def test_many_threads_lose_nothing() -> None:
    desk = Desk()
    desk.open.set()
    batcher, seen = started(desk, rows=7, wait=0.001, waiting=10**6)
    found: dict[str, str] = {}

    def ask(thread: int) -> None:
        for number in range(50):
            name = f"{thread} {number} x"
            future = batcher.submit(Question(name))
            if number % 5 == 4 and future.cancel():
                found[name] = name.upper()
            else:
                found[name] = future.result(SECONDS)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    batcher.stop(SECONDS)
    assert len(found) == 400 and all(answer == name.upper() for name, answer in found.items())
    assert max(done.rows for done in seen) <= 7
