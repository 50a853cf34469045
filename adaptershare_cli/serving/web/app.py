"""The application: paths, and what becomes of a request on each. It is an ASGI app, for any server of such apps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptershare_cli import __version__
from adaptershare_cli.errors import AdapterShareError, UserError
from adaptershare_cli.serving.batching import Batcher, QueueFull, Stopped
from adaptershare_cli.serving.rows import Question
from adaptershare_cli.serving.web.asking import Asking
from adaptershare_cli.serving.web.bodies import (
    ErrorBody,
    HealthResponse,
    PredictBody,
    PredictResponse,
    TasksResponse,
)
from adaptershare_cli.serving.web.metrics import CONTENT_TYPE, Metrics
from adaptershare_cli.serving.web.receiving import GONE, Gone, left, read_body
from adaptershare_cli.serving.web.refused import Refused
from adaptershare_cli.templates import render

if TYPE_CHECKING:
    from adaptershare_cli.serving.answering import Answered

PREDICT, TASKS, HEALTH, METRICS, OPENAPI, DOCS = (
    "/predict", "/tasks", "/healthz", "/metrics", "/openapi.json", "/docs",
)  # fmt: skip
PATHS = (PREDICT, TASKS, HEALTH, METRICS, OPENAPI, DOCS)
_AGAIN = {"Retry-After": "1"}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "There is no such task."},
    408: {"model": ErrorBody, "description": "The body did not come in time."},
    413: {"model": ErrorBody, "description": "Too many rows, or too long a body."},
    415: {"model": ErrorBody, "description": "The body is not said to be JSON."},
    422: {"model": ErrorBody, "description": "The body is no JSON, or a row cannot be answered."},
    429: {"model": ErrorBody, "description": "Too many rows wait; try again."},
    503: {"model": ErrorBody, "description": "The server is stopping."},
    504: {"model": ErrorBody, "description": "The answer took too long."},
}


@dataclass(frozen=True)
class Service:
    """What an application serves: a run with its tasks (`TaskBody` each), who answers, and what is too much."""

    run: str
    tasks: Sequence[Mapping[str, Any]]
    asking: Asking
    batcher: Batcher[Question, Answered]
    metrics: Metrics
    most_bytes: int
    seconds: float  # after which a request is given up


def build_app(service: Service) -> ASGIApp:
    """The application of a service."""
    # The page of /docs is our own: FastAPI's loads scripts from elsewhere.
    app = FastAPI(
        title=f"adaptershare serve: {service.run}", version=__version__, openapi_url=OPENAPI, docs_url=None,
        redoc_url=None,
    )  # fmt: skip

    @app.post(
        PREDICT,
        summary="Answer texts, or rows, by tasks",
        response_model=PredictResponse,
        responses=_REFUSALS,
        openapi_extra={
            "requestBody": {
                "required": True, "content": {"application/json": {"schema": PredictBody.model_json_schema()}}
            }
        },
    )  # fmt: skip
    async def predict(request: Request) -> Response:
        question = service.asking.question(await read_body(request, service.most_bytes, service.seconds))
        answered = await _answer(service, request, question)
        service.metrics.of_answers(question.tasks, question.size)
        return JSONResponse({"run": service.run, "predictions": answered.predictions, "cut": answered.cut})

    @app.get(TASKS, summary="Tell what the tasks are, how good, and which share adapters", response_model=TasksResponse)
    async def tasks() -> Response:
        return JSONResponse({"run": service.run, "tasks": service.tasks})

    @app.get(
        HEALTH, summary="Tell whether requests are answered", response_model=HealthResponse,
        responses={503: {"model": HealthResponse, "description": "They are not."}},
    )  # fmt: skip
    async def healthz() -> Response:
        works = service.batcher.works
        told = {"status": "ok" if works else "stopping", "waiting_rows": service.batcher.waiting}
        return JSONResponse(told, 200 if works else 503)

    @app.get(METRICS, summary="Tell what was counted, for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get(DOCS, include_in_schema=False)
    async def docs(request: Request) -> Response:
        page = _page(service, app.openapi(), str(request.base_url).rstrip("/"))
        return HTMLResponse(page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})

    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(Gone, _nobody)
    app.add_exception_handler(HTTPException, _refuse_path)
    app.add_exception_handler(Exception, _fail)
    return _Measured(app, service.metrics)


async def _answer(service: Service, request: Request, question: Question) -> Answered:
    """Wait for the answer. What nobody waits for any more is taken out of the queue. Raises Refused and Gone."""
    try:
        asked = service.batcher.submit(question)
    except QueueFull:
        what = f"{service.batcher.waiting} rows wait already, and there is no room for {question.size} more"
        raise Refused(429, what, fix="Try again in a second.", headers=_AGAIN) from None
    except Stopped:
        raise Refused(503, "The server is stopping", headers=_AGAIN) from None
    answer: asyncio.Future[Any] = asyncio.wrap_future(asked)
    gone: asyncio.Future[Any] = asyncio.ensure_future(left(request))
    try:
        await asyncio.wait({answer, gone}, timeout=service.seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if gone.done():
            raise Gone
        raise Refused(504, f"There was no answer within {service.seconds:g} seconds", fix="Ask for fewer rows at once.")
    except UserError as error:
        raise Refused(422, error.what, error.where, error.fix) from None
    finally:
        asked.cancel()
        gone.cancel()


async def _refuse(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return JSONResponse(refused.to_json(), refused.status, refused.headers)


async def _nobody(request: Request, gone: Exception) -> Response:
    return Response(status_code=GONE)


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"There is no {request.method} {request.url.path[:200]}"
    told = Refused(error.status_code, what, "path", f"Paths: POST {PREDICT}, GET {', '.join(PATHS[1:])}.")
    return JSONResponse(told.to_json(), told.status, error.headers)


async def _fail(request: Request, error: Exception) -> Response:
    """What went wrong here; of what nobody expected the traceback is in the server's own output alone."""
    what = error.what if isinstance(error, AdapterShareError) else "A fault of the program"
    where = error.where if isinstance(error, AdapterShareError) else "the server's output has the details"
    return JSONResponse(Refused(500, what, where).to_json(), 500)


def _page(service: Service, schema: dict[str, Any], address: str) -> str:
    pairs = any(task["pairs"] for task in service.tasks)
    row = (
        {"rows": [{"text": "A man sleeps.", "text_pair": "Nobody is awake."}]} if pairs else {"texts": ["a good film"]}
    )
    example = json.dumps({**row, "task": service.tasks[0]["task"]})
    return render(
        "serving/web/templates/docs.html.j2", schema=schema, run=service.run, tasks=service.tasks, address=address,
        example=example, body=schema["paths"][PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"],
    )  # fmt: skip


class _Measured:
    """An application whose requests are counted, whatever becomes of them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, started = GONE, time.monotonic()

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            self.metrics.of_request(scope["path"], status, time.monotonic() - started)
