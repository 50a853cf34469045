"""`serve`: a run over HTTP says what `predict` says, answers whatever comes, and stops in good order."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adaptershare_cli.commands import serve as command
from adaptershare_cli.commands.serve import make_service
from adaptershare_cli.runs.runtime import Runtime
from adaptershare_cli.serving.web.app import Service, build_app
from adaptershare_cli.settings import ServeSettings
from tests.cli.conftest import LABELS, TASKS, good, only, refused
from tests.faults.processes import Command
from tests.served import load

SECONDS = 60
SINGLE = ("--threads", "1")
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
TEXTS = [
    "the film was good", "a dull plot", "we hated the awful service but it was quite fresh", "i", "soup " * 99,
    "日本語 🎬", "bank card", "a film " * 1500,
]  # fmt: skip


def serve(workspace: Path, encoder: Path, *arguments: Any) -> tuple[Any, ...]:
    return ("serve", "-w", workspace, "--model", encoder, *SINGLE, *arguments)


def service_of(trained: Path, encoder: Path, **options: Any) -> Service:
    """A service that answers the newest run of a workspace, on one thread."""
    served, _ = load(trained, "adaptershare", encoder)
    found = make_service(
        served, dict.fromkeys(served.tasks, False), Runtime("cpu", "fp32", 1), ServeSettings(**options)
    )
    found.batcher.start()
    return found


async def asked(service: Service, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The responses to requests that come at once."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(service)), base_url="http://site") as client:
        found = await asyncio.wait_for(asyncio.gather(*(client.post("/predict", json=b) for b in bodies)), SECONDS)
    assert {response.status_code for response in found} == {200}, [response.text for response in found]
    return [response.json() for response in found]


@pytest.fixture(scope="module")
def service(trained: Path, encoder: Path) -> Iterator[Service]:
    """One that answers each request by itself."""
    found = service_of(trained, encoder, max_batch_rows=1, max_wait_ms=0.0)
    yield found
    found.batcher.stop(SECONDS)


def predicted(trained: Path, encoder: Path, folder: Path, *options: Any) -> list[dict[str, Any]]:
    """What `predict` says of the texts."""
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    output = folder / "out.jsonl"
    good("predict", "-w", trained, "--model", encoder, *SINGLE, "-i", folder / "texts.txt", "-o", output, *options)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("options", [{}, {"top_k": 2}])
def test_a_request_by_itself_gets_the_very_numbers_of_predict(
    service: Service, trained: Path, encoder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    """All tasks, each digit; long texts, and what no tokenizer knows."""
    expected = predicted(trained, encoder, tmp_path, *(("--top-k", "2") if options else ()))
    (found,) = asyncio.run(asked(service, [{"texts": TEXTS, **options}]))
    flat = [{f"{t}.{name}": v for t, of in row.items() for name, v in of.items()} for row in found["predictions"]]
    assert flat == [{name: value for name, value in row.items() if name != "text"} for row in expected]
    assert found["cut"] == dict.fromkeys(TASKS, [4, 7])
    assert found["run"] == f"train-share/{only(trained, 'train-share/*').name}"
    named = [task for task in TASKS if not options or LABELS[task]]
    of_task = asyncio.run(asked(service, [{"texts": TEXTS, "task": task, **options} for task in named]))
    for task, one in zip(named, of_task, strict=True):
        assert [row[task] for row in one["predictions"]] == [row[task] for row in found["predictions"]]


def test_requests_for_different_tasks_are_one_pass_and_get_the_same_answers(
    service: Service, trained: Path, encoder: Path
) -> None:
    """To rounding: rows stand in other batches than by themselves."""
    tasks = [[TASKS[number % 3]] if number % 4 else list(TASKS) for number in range(len(TEXTS))]
    bodies = [{"texts": [text], "task": names} for text, names in zip(TEXTS, tasks, strict=True)]
    together = service_of(trained, encoder, max_batch_rows=len(TEXTS), max_wait_ms=60000.0)
    found = asyncio.run(asked(together, bodies))
    together.batcher.stop(SECONDS)
    counted = together.metrics.text().decode()
    assert "adaptershare_batch_requests_count 1.0" in counted and "adaptershare_batch_rows_sum 8.0" in counted
    for body, one, other in zip(bodies, found, asyncio.run(asked(service, bodies)), strict=True):
        assert one["cut"] == other["cut"]
        ((row,), (same,)) = one["predictions"], other["predictions"]
        assert list(row) == list(same) == body["task"]
        for task in row:
            assert row[task].keys() == same[task].keys() and row[task].get("label") == same[task].get("label")
            numbers = [[of[name] for name in of if name != "label"] for of in (row[task], same[task])]
            np.testing.assert_allclose(*numbers, atol=1e-5)


def test_what_is_told_of_tasks(service: Service, trained: Path) -> None:
    told = {task["task"]: task for task in service.tasks}
    assert list(told) == list(TASKS)
    assert told["second"]["labels"] == ["a", "b", "c"] and told["score"]["range"] == (0.0, 5.0)
    assert (told["first"]["columns"], told["first"]["pairs"], told["first"]["max_seq_length"]) == (["text"], False, 64)
    info = json.loads((only(trained, "train-share/*") / "artefact.json").read_text())["info"]
    for layer, groups in enumerate(info["plan"]["layers"]):
        for group in groups:
            for task in group:
                shared = [p for p in told[task]["partners"] if p["first_layer"] <= layer <= p["last_layer"]]
                assert [set(p["tasks"]) for p in shared] == [set(group) - {task}]
    ((score,),) = [told["first"]["scores"]]
    assert (score["metric"], score["split"], score["rows"]) == ("accuracy", "dev", 12) and 0 <= score["value"] <= 1


# ---- what is wrong is said before the encoder is loaded ----


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nosuch",), ("No run matches 'nosuch'",)),
        (("--task", "thrid"), ("no task 'thrid'",)),
        (("--port", "70000"), ("--port must be between 0 and 65535",)),
        (("--max-wait-ms", "nan"), ("--max-wait-ms must be",)),
        (("--max-queue-rows", "9"), ("--max-queue-rows", "--max-request-rows")),
        (("--host", "nowhere.invalid"), ("The address 'nowhere.invalid' is not known",)),
        (("--host", "192.0.2.1"), ("Nothing can listen there", "--host 192.0.2.1")),
    ],
)
def test_what_is_refused(
    arguments: tuple[Any, ...], says: tuple[str, ...], trained: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adaptershare_cli.runs.served.ServedRun.load", lambda *_: pytest.fail("the encoder is loaded"))
    refused(*serve(trained, encoder, *arguments), says=says)


def test_a_port_that_is_taken(trained: Path, encoder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(*serve(trained, encoder, "--port", port), says=("in use", f"--port {port}", "0 for a free one"))


def test_packages_that_are_missing(trained: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name != "uvicorn" else object())
    says = ("not installed: fastapi, prometheus-client", "pip install 'adaptershare-cli[serve]'")
    refused(*serve(trained, encoder), says=says)


# ---- a real process ----


def started(trained: Path, encoder: Path, log: Path, *arguments: Any) -> tuple[Command, str, int]:
    """A server that answers, with its host and port."""
    process = Command(log, serve(trained, encoder, "--port", "0", *arguments))
    process.wait_for("http://")
    (line,) = process.lines("http://127")
    url = json.loads(line)["url"] if line.startswith("{") else line
    host, _, port = url.removeprefix("http://").partition(":")
    return process, host, int(port)


def send(host: str, port: int, body: bytes, **headers: str) -> tuple[int, Any]:
    """The status and the JSON of a response."""
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def raw(host: str, port: int, data: bytes) -> None:
    """Send something, and go away without a word."""
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(data)


def test_a_server_answers_whatever_comes_and_stops_at_a_signal(
    command_server: None, trained: Path, encoder: Path, tmp_path: Path
) -> None:
    process, host, port = started(trained, encoder, tmp_path / "log", "--max-body-kib", "64", "--json")
    (line,) = process.lines('"url"')
    assert json.loads(line)["command"] == "serve" and json.loads(line)["tasks"] == list(TASKS)
    asked = json.dumps({"texts": TEXTS, "task": "first"}).encode()
    expected = send(host, port, asked)
    assert expected[0] == 200 and len(expected[1]["predictions"]) == len(TEXTS)
    for data in (
        b"", b"\x16\x03\x01 no HTTP\r\n\r\n", HEAD, HEAD + b"100\r\n\r\n{", HEAD + b"%d\r\n\r\n" % len(asked) + asked,
        b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n", b"GET " + b"x" * 70000,
    ):  # fmt: skip
        raw(host, port, data)
    assert send(host, port, b"{")[0] == 422
    assert send(host, port, b" " * 500_000)[0] == 413
    try:
        assert send(host, port, b" " * 3_000_000)[0] == 413
    except (ConnectionError, http.client.HTTPException):
        pass  # so long a body is not read to its end, which its sender may hear of in this way
    statuses: list[Any] = []
    threads = [threading.Thread(target=lambda: statuses.append(send(host, port, asked))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [status for status, _ in statuses] == [200] * 8
    labels = [[row["first"]["label"] for row in body["predictions"]] for _, body in [expected, *statuses]]
    assert labels == [labels[0]] * 9
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    assert process.output.count("\n") == len(process.output.splitlines()) and "Traceback" not in process.output
    assert process.output.splitlines()[-1].startswith("Stopped")
    with pytest.raises(ConnectionError):
        send(host, port, asked)


def test_what_was_asked_before_a_signal_is_answered(
    command_server: None, trained: Path, encoder: Path, tmp_path: Path
) -> None:
    """Requests wait for others here; nobody waits any more once the signal has come."""
    options = ("--max-wait-ms", 60000, "--max-batch-rows", 1000, "--request-timeout", SECONDS / 2)
    process, host, port = started(trained, encoder, tmp_path / "log", *options)
    found: list[Any] = []
    asked = json.dumps({"texts": ["a film"], "task": "first"}).encode()
    threads = [threading.Thread(target=lambda: found.append(send(host, port, asked)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    while json.loads(httpx.get(f"http://{host}:{port}/healthz").text)["waiting_rows"] < 3:
        time.sleep(0.01)
    process.send(signal.SIGINT)
    for thread in threads:
        thread.join(SECONDS)
    assert found == [200] * 3
    assert process.wait() == 0
    assert not [name for name in os.listdir(tmp_path) if name != "log"]


def test_a_second_signal_ends_it_at_once(command_server: None, trained: Path, encoder: Path, tmp_path: Path) -> None:
    """Though somebody is slow to send."""
    process, host, port = started(trained, encoder, tmp_path / "log", "--request-timeout", 3000)
    with socket.create_connection((host, port), SECONDS) as slow:
        slow.sendall(HEAD + b"9\r\n\r\n{")
        assert send(host, port, b"{")[0] == 422  # so the slow one has been heard
        process.send(signal.SIGTERM)
        with pytest.raises(OSError):
            while send(host, port, b"{")[0]:
                time.sleep(0.01)
        assert process.process.is_alive()
        process.send(signal.SIGTERM)
        assert process.wait() == 130
    assert process.output.count("error: Stopped at once") == 1 and "Traceback" not in process.output


def test_others_than_this_machine_are_warned_of(
    command_server: None, trained: Path, encoder: Path, tmp_path: Path
) -> None:
    process = Command(tmp_path / "log", serve(trained, encoder, "--port", "0", "--host", "0.0.0.0"))
    process.wait_for("warning: whoever reaches http://0.0.0.0:")
    process.wait_for("Serving 3 tasks")
    process.send(signal.SIGTERM)
    assert process.wait() == 0
