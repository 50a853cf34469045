"""A thread that owns a model and answers what several others ask: what waits together is answered together.

Values in, values out: what a question and an answer are is the caller's. No torch here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """A question: the rows that it has, and their characters."""

    @property
    def size(self) -> int: ...

    @property
    def characters(self) -> int: ...


Q = TypeVar("Q", bound=Sized)
A = TypeVar("A")
Answer = Callable[[Sequence[Q]], Sequence[A]]  # an answer each, in their order

# Long texts take long, those of words in proportion: a pass has no more than this, or one question.
MOST_CHARACTERS = 2**18


class QueueFull(Exception):
    """There is no room for one more question."""


class Stopped(Exception):
    """No more questions are taken."""


@dataclass(frozen=True)
class Limits:
    """Up to `rows` are answered together; a question with more is answered by itself.

    A question waits at most `wait` seconds for others, and up to `waiting` rows wait.
    """

    rows: int
    wait: float
    waiting: int


@dataclass(frozen=True)
class Pass:
    """What was answered together: so many questions with so many rows, in so many seconds."""

    questions: int
    rows: int
    seconds: float


@dataclass(eq=False)
class _Waiting(Generic[Q, A]):
    question: Q
    future: Future[A]
    arrived: float = field(default_factory=time.monotonic)


class Batcher(Generic[Q, A]):
    """Collects questions and has one thread answer them, in the order in which they came.

    `load` is called once, in that thread, and gives the function that answers; `seen` is told of each pass. A question
    that makes the answering of several fail is found by answering each by itself, so it fails alone.
    """

    def __init__(self, load: Callable[[], Answer[Q, A]], limits: Limits, seen: Callable[[Pass], None]) -> None:
        self.load, self.limits, self.seen = load, limits, seen
        self._queue: deque[_Waiting[Q, A]] = deque()
        self._changed = threading.Condition()
        self._hurrying = self._stopping = False
        self._loaded: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Load, and wait for it. Raises what loading raises."""
        self._thread.start()
        self._loaded.result()

    @property
    def works(self) -> bool:
        """Whether questions are taken and answered."""
        return self._thread.is_alive() and not self._stopping

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        with self._changed:
            return self._rows()

    def submit(self, question: Q) -> Future[A]:
        """Take a question; who gives it up cancels the future. Raises QueueFull and Stopped."""
        waiting = _Waiting[Q, A](question, Future())
        with self._changed:
            if self._stopping:
                raise Stopped
            if self._queue and self._rows() + question.size > self.limits.waiting:
                raise QueueFull
            self._queue.append(waiting)
            self._changed.notify()
        waiting.future.add_done_callback(lambda future: self._leave(waiting))
        return waiting.future

    def hurry(self) -> None:
        """Let nothing wait for others any more."""
        with self._changed:
            self._hurrying = True
            self._changed.notify()

    def stop(self, seconds: float | None = None) -> None:
        """Take no more; all that wait are answered, for which this waits (at most so long)."""
        with self._changed:
            self._hurrying = self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _rows(self) -> int:
        return sum(waiting.question.size for waiting in self._queue)

    def _leave(self, waiting: _Waiting[Q, A]) -> None:
        """What was given up makes room at once."""
        if waiting.future.cancelled():
            with self._changed:
                if waiting in self._queue:
                    self._queue.remove(waiting)

    def _run(self) -> None:
        try:
            answer = self.load()
        except BaseException as error:  # whatever it is, `start` raises it
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(None)
        while together := self._collect():
            self._answer(answer, [waiting for waiting in together if waiting.future.set_running_or_notify_cancel()])

    def _collect(self) -> list[_Waiting[Q, A]]:
        """Wait for questions, and a little for more; none once there are none and will be none."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return []
                left = self._queue[0].arrived + self.limits.wait - time.monotonic()
                if left <= 0 or self._hurrying or self._rows() >= self.limits.rows:
                    return self._take()
                self._changed.wait(left)

    def _take(self) -> list[_Waiting[Q, A]]:
        taken = [self._queue.popleft()]
        rows, characters = taken[0].question.size, taken[0].question.characters
        while self._queue:
            rows += self._queue[0].question.size
            characters += self._queue[0].question.characters
            if rows > self.limits.rows or characters > MOST_CHARACTERS:
                break
            taken.append(self._queue.popleft())
        return taken

    def _answer(self, answer: Answer[Q, A], together: Sequence[_Waiting[Q, A]]) -> None:
        if not together:
            return
        started = time.monotonic()
        try:
            answers = answer([waiting.question for waiting in together])
        except Exception as error:
            if len(together) == 1:
                together[0].future.set_exception(error)
                return
            for waiting in together:
                self._answer(answer, [waiting])
            return
        rows = sum(waiting.question.size for waiting in together)
        self.seen(Pass(len(together), rows, time.monotonic() - started))
        for waiting, found in zip(together, answers, strict=True):
            waiting.future.set_result(found)
