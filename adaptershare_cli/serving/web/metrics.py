"""What a server counts and measures, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from adaptershare_cli.serving.batching import Pass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"  # stands for paths that are not there, of which there is no end
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Those of one server, of requests to these paths."""

    def __init__(self, paths: Collection[str]) -> None:
        self.paths, self.registry = frozenset(paths), CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory and processor time of the whole program
        self._requests = Counter(
            "adaptershare_requests_total", "Requests by path and status.", ["path", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "adaptershare_request_seconds", "Seconds from the head of a request to the end of its response.", ["path"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._rows = Counter("adaptershare_rows_total", "Rows that were answered.", registry=self.registry)
        self._answers = Counter(
            "adaptershare_answers_total", "Answers by task: a row that several tasks answer counts for each.", ["task"],
            registry=self.registry,
        )  # fmt: skip
        self._queue = Gauge("adaptershare_queue_rows", "Rows that wait.", registry=self.registry)
        self._batch_rows = Histogram(
            "adaptershare_batch_rows", "Rows that one pass answered.", buckets=_ROWS, registry=self.registry
        )
        self._batch_requests = Histogram(
            "adaptershare_batch_requests", "Requests that one pass answered.", buckets=_ROWS, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "adaptershare_batch_seconds", "Seconds of a pass.", buckets=_SECONDS, registry=self.registry
        )

    def watch(self, waiting: Callable[[], int]) -> None:
        """Ask for the rows that wait whenever somebody wants to know."""
        self._queue.set_function(waiting)

    def of_pass(self, done: Pass) -> None:
        """A pass was made."""
        self._rows.inc(done.rows)
        self._batch_rows.observe(done.rows)
        self._batch_requests.observe(done.questions)
        self._batch_seconds.observe(done.seconds)

    def of_answers(self, tasks: Collection[str], rows: int) -> None:
        """Rows were answered by tasks."""
        for task in tasks:
            self._answers.labels(task).inc(rows)

    def of_request(self, path: str, status: int, seconds: float) -> None:
        """A request got its response."""
        known = path if path in self.paths else OTHER
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
