"""The application of `serve` without a model: each request gets its response, and nothing hangs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from adaptershare_cli.errors import RunError, UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.serving.answering import Answered
from adaptershare_cli.serving.batching import Batcher, Limits
from adaptershare_cli.serving.rows import Question
from adaptershare_cli.serving.web.app import PATHS, Service, build_app
from adaptershare_cli.serving.web.asking import Asking
from adaptershare_cli.serving.web.bodies import TaskBody
from adaptershare_cli.serving.web.metrics import Metrics

SECONDS = 60  # what takes longer hangs
KIB = 1024
INFOS = {
    "first": TaskInfo("first", "classification", ("bad", "good"), None, ("accuracy",)),
    "score": TaskInfo("score", "regression", (), (0.0, 5.0), ("pearson",)),
    "words": TaskInfo("words", "tagging", ("O", "B-x"), None, ("span_f1",)),
    "pair": TaskInfo("pair", "classification", ("no", "yes"), None, ("accuracy",)),
}
PAIRS = {"first": False, "score": None, "words": False, "pair": True}
SINGLE = ["first", "score", "words"]


@dataclass
class Desk:
    """Says of each row what it read; `open` lets it, `busy` tells that it has begun."""

    open: threading.Event = field(default_factory=threading.Event)
    busy: threading.Event = field(default_factory=threading.Event)
    asked: list[Question] = field(default_factory=list)

    def __call__(self, questions: Sequence[Question]) -> list[Answered]:
        self.busy.set()
        assert self.open.wait(SECONDS)
        self.asked += questions
        return [self.answered(question) for question in questions]

    def answered(self, question: Question) -> Answered:
        texts = [str(row["text"]) for row in question.calls[0].rows]
        for error in (RunError("odd outputs"), ValueError("secret"), UserError("no token", "words", "Add one.")):
            if type(error).__name__ in texts:
                raise error
        return Answered([{task: {"read": text} for task in question.tasks} for text in texts], {})


@dataclass
class Site:
    """An application with its desk, and requests to it."""

    desk: Desk
    service: Service

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(work, SECONDS))

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(build_app(self.service), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://site", timeout=SECONDS)

    def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **content)

        return self.run(send())

    def predict(self, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/predict", content=content, headers={"Content-Type": "application/json", **headers})

    def value(self, name: str) -> float:
        """What /metrics says of a name with its labels."""
        (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", self.ask("GET", "/metrics").text, re.MULTILINE)
        return float(value)


def made(seconds: float = SECONDS, waiting: int = 8, wait: float = 0.0) -> Site:
    desk, metrics = Desk(), Metrics(PATHS)
    batcher: Batcher[Question, Answered] = Batcher(lambda: desk, Limits(4, wait, waiting), metrics.of_pass)
    metrics.watch(lambda: batcher.waiting)
    batcher.start()
    asking = Asking(INFOS, PAIRS, most_rows=8)
    told = [
        TaskBody(task=task, kind=info.kind, labels=list(info.labels), range=info.range, columns=asking.columns(task),
                 pairs=PAIRS[task], max_seq_length=64, partners=[], scores=[]).model_dump()
        for task, info in INFOS.items()
    ]  # fmt: skip
    return Site(desk, Service("a-run", told, asking, batcher, metrics, 4 * KIB, seconds))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One that answers at once."""
    found = made()
    found.desk.open.set()
    yield found
    found.service.batcher.stop()


def error(response: httpx.Response, status: int) -> dict[str, str]:
    """The error of a response, which must have that status."""
    assert response.status_code == status, response.text
    (told,) = response.json().values()
    assert told.keys() == {"what", "where", "fix"} and response.json().keys() == {"error"}
    return told


# ---- answers ----


def test_rows_are_answered_in_their_order_by_the_tasks_that_are_named(site: Site) -> None:
    texts = ["a film", "日本語のテキスト 🎬", "é" * 200, "a\nb"]
    found = site.predict({"texts": texts, "task": SINGLE}).json()
    assert found["run"] == "a-run" and found["cut"] == {}
    assert [list(row) for row in found["predictions"]] == [SINGLE] * 4
    assert [row["first"]["read"] for row in found["predictions"]] == texts
    (only,) = site.predict({"texts": ["a"], "task": "score"}).json()["predictions"]
    assert list(only) == ["score"]
    rows = [{"text": "a", "text_pair": "b"}, {"text": "c", "text_pair": "d"}]
    assert [list(row) for row in site.predict({"rows": rows}).json()["predictions"]] == [list(INFOS)] * 2
    # Single texts, pairs, and what a run does not say: each reads its own.
    read = {call.tasks: [dict(row) for row in call.rows] for call in site.desk.asked[-1].calls}
    assert read == {("first", "words"): [{"text": "a"}, {"text": "c"}], ("score", "pair"): rows}
    assert site.predict({"texts": [["a", "list"]], "task": "words", "top_k": None}).status_code == 200


def test_json_may_be_said_in_other_words(site: Site) -> None:
    for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"):
        assert site.predict({"texts": ["a"], "task": "first"}, **{"Content-Type": kind}).status_code == 200


# ---- what is refused ----

TEXT_OF_PAIRS = ("The task pair reads pairs of texts", "text_pair")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, ("Invalid JSON",)),
        (b'{"texts": ["a"', 422, ("Invalid JSON", "column 14")),
        (b"\xff\xfe\x00", 422, ("Invalid JSON",)),
        (b'{"texts": ["\\ud800"]}', 422, ("Invalid JSON",)),
        (b"[" * 4000, 422, ("Invalid JSON", "recursion")),
        ([], 422, ("body: is not an object",)),
        ({"texts": "a film"}, 422, ("texts: ", "array")),
        ({"texts": []}, 422, ("texts is empty",)),
        ({"rows": []}, 422, ("rows is empty",)),
        ({}, 422, ("There are no texts",)),
        ({"texts": ["a"], "rows": [{"text": "a"}]}, 422, ("texts and rows exclude each other",)),
        ({"texts": ["a"], "tasks": "first"}, 422, ("There is no key 'tasks'", "Keys: texts, rows, task, top_k")),
        ({"texts": ["a"], "task": "frist"}, 404, ("no task 'frist'", "Did you mean `first`", "score, words, pair")),
        ({"texts": ["a"], "task": ["first", "all"]}, 404, ("no task 'all'",)),
        ({"texts": ["a"], "task": 3}, 422, ("task: is neither a name nor a list",)),
        ({"texts": ["a"], "task": []}, 422, ("No task is named",)),
        ({"texts": ["a"]}, 422, TEXT_OF_PAIRS),
        ({"rows": [{"text": "a"}], "task": "pair"}, 422, TEXT_OF_PAIRS),
        ({"texts": ["a"], "task": "first", "top_k": 0}, 422, ("top_k: ",)),
        ({"texts": ["a"], "task": "first", "top_k": "2"}, 422, ("top_k: ",)),
        ({"texts": ["a"], "task": ["score", "words"], "top_k": 2}, 422, ("top_k has no effect",)),
        ({"texts": ["a"] * 9, "task": "first"}, 413, ("may have 8 rows, and this one has 9", "--max-request-rows")),
        ({"texts": ["a", ""], "task": "first"}, 422, ("A row cannot be answered", "texts[1] is empty")),
        ({"texts": ["", "a", 3], "task": "first"}, 422, ("2 rows cannot", "texts[0] is empty, texts[2] is not text")),
        ({"texts": ["\u200b"], "task": "first"}, 422, ("texts[0] holds no visible character",)),
        ({"texts": ["a\0b"], "task": "first"}, 422, ("texts[0] holds a NUL byte",)),
        ({"texts": [["a", "b"]], "task": "first"}, 422, ("texts[0] is not text but a list",)),
        ({"texts": [["a", " "]], "task": "words"}, 422, ("texts[0] is empty (word 2 of its sentence)",)),
        ({"texts": [[]], "task": ["words"]}, 422, ("texts[0] holds no word",)),
        ({"rows": ["a"], "task": "first"}, 422, ("rows[0] is not an object",)),
        ({"rows": [{"text": "a", "label": "x"}]}, 422, ("rows[0] has the key 'label'",)),
        ({"rows": [{"text_pair": "a"}]}, 422, ("rows[0] has no text",)),
        ({"rows": [{"text": "a", "text_pair": "b"}, {"text": "a"}]}, 422, ("rows[1] and rows[0] do not both",)),
        ({"rows": [{"text": "a", "text_pair": ""}], "task": "pair"}, 422, ("rows[0].text_pair is empty",)),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_body_is_told(site: Site, body: Any, status: int, says: tuple[str, ...]) -> None:
    told = error(site.predict(body), status)
    words = " ".join(told.values())
    assert all(part in words for part in says), told
    assert told["where"]


def test_a_body_may_be_as_long_as_it_may(site: Site) -> None:
    fits = {"texts": ["a" * (4 * KIB - 40)], "task": "first"}
    assert site.predict(fits).status_code == 200
    too_long = json.dumps({"texts": ["a" * 5 * KIB], "task": "first"}).encode()
    assert error(site.predict(too_long), 413)["what"] == "A request may have 4 KiB"
    assert "--max-body-kib" in error(site.predict(b" " * 10**6), 413)["fix"]


def test_a_body_of_unknown_length_is_read_as_far_as_it_may_go(site: Site) -> None:
    sent = 0

    async def parts(count: int) -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(count):
            sent += KIB
            yield b" " * KIB

    headers = {"Content-Type": "application/json"}
    assert error(site.ask("POST", "/predict", content=parts(6), headers=headers), 413)
    assert sent == 6 * KIB
    assert error(site.ask("POST", "/predict", content=parts(2), headers=headers), 422)  # blanks are no JSON


def test_what_is_not_said_to_be_json_or_is_packed(site: Site) -> None:
    body = b'{"texts": ["a"], "task": "first"}'
    told = error(site.predict(body, **{"Content-Type": "application/x-www-form-urlencoded"}), 415)
    assert "x-www-form-urlencoded" in told["what"] and "application/json" in told["fix"]
    assert "nothing" in error(site.ask("POST", "/predict", content=body), 415)["what"]
    assert error(site.predict(body, **{"Content-Encoding": "gzip"}), 415)["where"] == "Content-Encoding"


def test_a_path_that_is_not_there(site: Site) -> None:
    assert "There is no GET /predict" in error(site.ask("GET", "/predict"), 405)["what"]
    told = error(site.ask("POST", "/Predict?x=<script>", content=b""), 404)
    assert "POST /Predict" in told["what"] and "POST /predict" in told["fix"]


# ---- what goes wrong on this side ----


def test_a_fault_is_told_without_its_traceback(site: Site) -> None:
    asked = {"texts": ["ValueError"], "task": "first"}
    response = site.predict(asked)
    assert error(response, 500)["what"] == "A fault of the program"
    assert "secret" not in response.text and "Traceback" not in response.text
    assert error(site.predict({**asked, "texts": ["RunError"]}), 500)["what"] == "odd outputs"
    told = error(site.predict({**asked, "texts": ["UserError"]}), 422)
    assert told == {"what": "no token", "where": "words", "fix": "Add one."}
    assert site.predict({**asked, "texts": ["a"]}).status_code == 200


def test_a_request_fails_alone() -> None:
    site = made(wait=SECONDS)  # four rows are one pass
    site.desk.open.set()

    async def send() -> list[int]:
        async with site.client() as client:
            bodies = [{"texts": [text], "task": "first"} for text in ("a", "ValueError", "b", "c")]
            found = await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))
            return [response.status_code for response in found]

    assert site.run(send()) == [200, 500, 200, 200]
    site.service.batcher.stop()


def test_a_full_queue_asks_to_come_again() -> None:
    site = made(waiting=3)

    async def send() -> None:
        async with site.client() as client:

            def ask(rows: int) -> asyncio.Task[httpx.Response]:
                body = {"texts": ["a"] * rows, "task": "first"}
                return asyncio.create_task(client.post("/predict", json=body))

            waiting = [ask(1)]
            await asyncio.to_thread(site.desk.busy.wait, SECONDS)
            waiting.append(ask(3))
            while site.service.batcher.waiting < 3:
                await asyncio.sleep(0.001)
            refused = await ask(1)
            assert "3 rows wait already" in error(refused, 429)["what"]
            assert refused.headers["Retry-After"] == "1"
            health = await client.get("/healthz")
            assert (health.status_code, health.json()) == (200, {"status": "ok", "waiting_rows": 3})
            assert "\nadaptershare_queue_rows 3.0\n" in (await client.get("/metrics")).text
            site.desk.open.set()
            assert [(await response).status_code for response in waiting] == [200, 200]

    site.run(send())
    site.service.batcher.stop()


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    site = made(seconds=0.05)
    assert "within 0.05 seconds" in error(site.predict({"texts": ["a"], "task": "first"}), 504)["what"]
    assert "within 0.05 seconds" in error(site.predict({"texts": ["b"], "task": "first"}), 504)["what"]
    assert site.service.batcher.waiting == 0  # the second was taken out of the queue
    site.desk.open.set()
    site.service.batcher.stop()
    assert [question.calls[0].rows[0]["text"] for question in site.desk.asked] == ["a"]


def test_a_body_that_does_not_come_is_given_up() -> None:
    site = made(seconds=0.05)

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"texts": '
        await asyncio.sleep(SECONDS)

    headers = {"Content-Type": "application/json"}
    assert "did not come" in error(site.ask("POST", "/predict", content=parts(), headers=headers), 408)["what"]
    site.desk.open.set()
    site.service.batcher.stop()


def test_who_goes_away_is_not_waited_for() -> None:
    """Neither while its rows wait nor before they have come; the others are answered."""
    site = made()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/predict",
        "raw_path": b"/predict", "root_path": "", "scheme": "http", "query_string": b"", "client": None,
        "server": ("site", 80), "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    body = {"type": "http.request", "body": b'{"texts": ["gone"], "task": "first"}', "more_body": False}
    half = {"type": "http.request", "body": b'{"texts"', "more_body": True}

    async def call(*messages: dict[str, Any]) -> list[dict[str, Any]]:
        coming, sent = [*messages, {"type": "http.disconnect"}], []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return coming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message["type"] == "http.response.start" and message["status"])

        await build_app(site.service)(dict(scope), receive, send)
        return sent

    async def send() -> httpx.Response:
        async with site.client() as client:
            first = asyncio.create_task(client.post("/predict", json={"texts": ["a"], "task": "first"}))
            await asyncio.to_thread(site.desk.busy.wait, SECONDS)
            assert (await call(half))[0] == (await call(body))[0] == 499
            assert site.service.batcher.waiting == 0
            site.desk.open.set()
            return await first

    assert site.run(send()).status_code == 200
    assert site.value('adaptershare_requests_total{path="/predict",status="499"}') == 2
    site.service.batcher.stop()
    assert [question.calls[0].rows[0]["text"] for question in site.desk.asked] == ["a"]


def test_a_server_that_stops_takes_nothing_more() -> None:
    site = made()
    site.desk.open.set()
    site.service.batcher.stop()
    assert error(site.predict({"texts": ["a"], "task": "first"}), 503)["what"] == "The server is stopping"
    health = site.ask("GET", "/healthz")
    assert (health.status_code, health.json()["status"]) == (503, "stopping")


# ---- what is told ----


def test_what_is_counted() -> None:
    site = made()
    site.desk.open.set()
    site.predict({"texts": ["a", "b"], "task": ["first", "score"]})
    site.predict({"texts": ["c"], "task": "first"})
    site.predict(b"{")
    for number in range(3):
        site.ask("GET", f"/nothing/{number}")
    assert site.value('adaptershare_requests_total{path="/predict",status="200"}') == 2
    assert site.value('adaptershare_requests_total{path="/predict",status="422"}') == 1
    assert site.value('adaptershare_requests_total{path="other",status="404"}') == 3
    assert site.value("adaptershare_rows_total") == 3
    assert site.value('adaptershare_answers_total{task="first"}') == 3
    assert site.value('adaptershare_answers_total{task="score"}') == 2
    assert site.value("adaptershare_queue_rows") == 0
    assert site.value("adaptershare_batch_rows_count") == site.value("adaptershare_batch_requests_sum") == 2
    assert site.value("adaptershare_batch_rows_sum") == 3
    assert site.value('adaptershare_request_seconds_count{path="/predict"}') == 3
    site.service.batcher.stop()


def test_what_the_tasks_are(site: Site) -> None:
    found = site.ask("GET", "/tasks").json()
    columns = {task["task"]: (task["kind"], task["columns"], task["pairs"]) for task in found["tasks"]}
    assert columns == {
        "first": ("classification", ["text"], False),
        "score": ("regression", ["text"], None),
        "words": ("tagging", ["text"], False),
        "pair": ("classification", ["text", "text_pair"], True),
    }


def test_the_page_needs_nothing_from_elsewhere(site: Site) -> None:
    page = site.ask("GET", "/docs")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not re.findall(r"<(?:script|link|img|iframe)|\bsrc=|\bhref=|@import|url\(", page.text)
    for words in ("POST /predict", "GET /tasks", "first", "scores from 0 to 5", "bad, good", "top_k", "429"):
        assert words in page.text, words
    (command,) = re.findall(r"curl --json '(.*)' http://site/predict", page.text)
    body = json.loads(command.replace("&quot;", '"'))
    assert site.predict({**body, "task": "pair"}).status_code == 200
    assert site.ask("GET", "/redoc").status_code == 404


def test_the_description_for_programs_is_whole(site: Site) -> None:
    schema = site.ask("GET", "/openapi.json").json()
    assert list(schema["paths"]) == ["/predict", "/tasks", "/healthz", "/metrics"]
    operation = schema["paths"]["/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert list(body["properties"]) == ["texts", "rows", "task", "top_k"] and body["additionalProperties"] is False
    assert {"200", "404", "408", "413", "415", "422", "429", "503", "504"} == operation["responses"].keys()
    named = {name.rpartition("/")[2] for name in re.findall(r'"\$ref": "([^"]*)"', json.dumps(schema))}
    assert named and named <= schema["components"]["schemas"].keys()
