"""The application: what is asked where, and how it is answered."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, AsyncIterator, Dict, List, Optional

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from ..errors import near
from ..hub import BangHub
from . import pages
from .answers import ClientGone, EventStream, Replies, Waiter, encoded, finite
from .engine import LONGEST, Engine
from .gate import Gate
from .jobs import Answer, Job, Mailbox, Piece, Plan, Refused
from .metrics import Metrics
from .queue import Queue
from .schema import Completion, Scoring, chosen, model_of

# characters from which texts are encoded outside the event loop
LONG = 4000


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        name: of the model.
        token: that requests have to bear; None: anyone may ask.
        places: texts that may wait.
        max_batch_tokens, max_wait: see ``Queue``.
        time_limit: seconds of a request.
        max_body: bytes.
    """

    name: str = "bang"
    token: Optional[str] = None
    places: int = 256
    max_batch_tokens: int = 4096
    max_wait: float = 5.0
    time_limit: float = 30.0
    max_body: int = 1_000_000


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: Optional[str]
    code: str


class Error(BaseModel):
    """An error as OpenAI's clients read it."""

    error: ErrorDetail


_STATUSES = {
    400: "not JSON",
    401: "no token, or a wrong one",
    404: "no such model",
    408: "the body came too slowly",
    413: "the body is too large",
    422: "a field is wrong: param names it",
    429: "the queue is full: Retry-After says when to come again",
    500: "the batch failed",
    503: "the server is shutting down",
    504: "the time limit is over",
}
_ERRORS: Dict[int | str, Dict[str, Any]] = {
    status: {"model": Error, "description": text} for status, text in _STATUSES.items()
}


class Service:
    """The handlers and what they share."""

    def __init__(self, hub: BangHub, settings: Settings):
        self.hub, self.settings = hub, settings
        self.metrics = Metrics()
        self.engine = Engine(hub, self.metrics)
        self.queue = Queue(self.engine, settings.places, settings.max_batch_tokens, settings.max_wait)
        self.metrics.watch_queue(lambda: len(self.queue.waiting))
        self.started = int(time.time())

    async def completions(self, request: Request, body: Any) -> Response:
        """Write an answer to each prompt, whole or as server-sent events."""
        self._check_model(body.model)
        plan = self.engine.plan(chosen(body, self.engine.options))
        sources = await self._encode([body.prompt] if isinstance(body.prompt, str) else body.prompt, "prompt")
        n = plan.options.get("nbest", 1)
        asked = {"n": n, "watched": body.stream or body.trace, "traced": body.trace, "seed": body.seed}
        waiter = self._waiter(
            request, plan, [{"source": s, "limit": self.engine.limit(plan, s), **asked} for s in sources]
        )
        prompts = sum(len(source) - 1 for source in sources)
        replies = Replies(self.settings.name, prompts, n, body.logprobs, body.trace, self._text)
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(await waiter.__aenter__(), replies, usage)
        answers = await self._all(waiter)
        return Response(encoded(replies.whole(answers)), media_type="application/json")

    async def score(self, request: Request, body: Any) -> Response:
        """Log-probability (nats) of a given completion of each prompt."""
        self._check_model(body.model)
        if isinstance(body.prompt, str) != isinstance(body.completion, str):
            raise Refused(422, "completion: a text for a text, a list for a list", "invalid_value", "completion")
        texts = [[text] if isinstance(text, str) else text for text in (body.prompt, body.completion)]
        if len(texts[0]) != len(texts[1]):
            message = f"completion: {len(texts[1])} texts, but prompt has {len(texts[0])}"
            raise Refused(422, message, "invalid_value", "completion")
        plan = self.engine.plan(chosen(body, self.engine.scoring_options), scoring=True)
        sources = await self._encode(texts[0], "prompt")
        await self._encode(texts[1], "completion")
        most = LONGEST * self.engine.max_source  # what is behind is cut anyway
        pairs = [(source[:most], target) for source, target in zip(*texts)]
        asked = [{"source": source, "limit": 0, "pair": pair} for source, pair in zip(sources, pairs)]
        answers = await self._all(self._waiter(request, plan, asked))
        data = [
            {
                "index": i,
                "score": finite(answer.score),
                "tokens": answer.tokens,
                "token_logprobs": [finite(score) for score in answer.scores],
            }
            for i, [answer] in enumerate(answers)
        ]
        return Response(
            encoded({"object": "list", "model": self.settings.name, "data": data}), media_type="application/json"
        )

    async def models(self) -> Dict[str, Any]:
        """The model, the decodings that it can be used with, and their options with defaults and bounds."""
        head = {"id": self.settings.name, "object": "model", "created": self.started, "owned_by": "bang_plugin"}
        return {"object": "list", "data": [{**head, **self.engine.describe()}]}

    async def healthz(self) -> JSONResponse:
        """200 as long as requests are taken."""
        if self.queue.draining:
            return JSONResponse({"status": "shutting down"}, 503)
        return JSONResponse({"status": "ok"})

    async def prometheus(self) -> Response:
        """Counters in Prometheus' text format."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    def _waiter(self, request: Request, plan: Plan, asked: List[Dict[str, Any]]) -> Waiter:
        """Who waits for the jobs of one request; ``asked``: what else is to be known of each, see ``Job``."""
        mailbox, limit = Mailbox(asyncio.get_running_loop()), self.settings.time_limit
        deadline = time.monotonic() + limit

        def job(number: int, fields: Dict[str, Any]) -> Job:
            return Job(plan=plan, deadline=deadline, tell=lambda told: mailbox.tell((number, told)), **fields)

        return Waiter(self.queue, [job(*each) for each in enumerate(asked)], mailbox, request.receive, limit)

    def _check_model(self, name: Optional[str]) -> None:
        if name not in (None, self.settings.name):
            message = f"model: there is only {self.settings.name}{near(str(name), [self.settings.name])}"
            raise Refused(404, message, "model_not_found", "model")

    async def _encode(self, texts: List[str], field: str) -> List[Any]:
        if sum(map(len, texts)) < LONG:
            return [self.engine.encode(text, field) for text in texts]
        return await asyncio.to_thread(lambda: [self.engine.encode(text, field) for text in texts])

    def _text(self, ids: List[int]) -> str:
        return str(self.hub.decode(torch.tensor(ids, dtype=torch.long)))

    @staticmethod
    async def _all(waiter: Waiter) -> List[List[Answer]]:
        answers: Dict[int, List[Answer]] = {}
        records: Dict[int, List[Dict[str, Any]]] = {}
        async with waiter:
            while len(answers) < len(waiter.jobs):
                number, told = await waiter.next()
                if not isinstance(told, Piece):
                    answers[number] = told
                    told[0].trace = records.get(number, [])
                elif told.record:
                    records.setdefault(number, []).append(told.record)
        return [answers[number] for number in range(len(waiter.jobs))]


def build(hub: BangHub, settings: Settings) -> ASGIApp:
    """The application for an ASGI server."""
    return build_with_service(hub, settings)[0]


def build_with_service(hub: BangHub, settings: Settings) -> "tuple[ASGIApp, Service]":
    """The same, with its insides."""
    service = Service(hub, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.queue.start()
        yield
        await service.queue.close()
        service.engine.close()

    app = FastAPI(
        title="bang serve", version="1", docs_url=None, redoc_url=None, lifespan=lifespan, openapi_url="/openapi.json"
    )
    request_types = (
        (service.completions, model_of(Completion, service.engine.options, "CompletionRequest")),
        (service.score, model_of(Scoring, service.engine.scoring_options, "ScoreRequest")),
    )
    _route(app, "/v1/completions", *request_types[0], events=True)
    _route(app, "/v1/score", *request_types[1])
    app.add_api_route("/v1/models", service.models, methods=["GET"], responses={401: _ERRORS[401]})
    app.add_api_route("/healthz", service.healthz, methods=["GET"], responses={503: {}})
    text: Dict[int | str, Dict[str, Any]] = {200: {"content": {"text/plain": {}}}, 401: _ERRORS[401]}
    app.add_api_route("/metrics", service.prometheus, methods=["GET"], responses=text, response_class=Response)
    pages.add(app)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(ClientGone, lambda request, error: Response(status_code=499))
    paths = {route.path for route in app.routes if hasattr(route, "path")}

    def path_of(path: str) -> str:
        return path if path in paths else "/static" if path.startswith("/static/") else "other"

    gate = Gate(app, service.metrics, path_of, settings.token, settings.max_body, settings.time_limit)
    return gate, service


def _route(app: FastAPI, path: str, handler: Any, request: Any, events: bool = False) -> None:
    async def endpoint(request: Request, body: Any) -> Response:
        answer: Response = await handler(request, body)
        return answer

    endpoint.__annotations__["body"] = request
    endpoint.__doc__, endpoint.__name__ = handler.__doc__, handler.__name__
    content: Dict[str, Any] = {"application/json": {}, **({"text/event-stream": {}} if events else {})}
    responses = {200: {"content": content}, **_ERRORS}
    app.add_api_route(path, endpoint, methods=["POST"], responses=responses, response_class=Response)


_NO_JSON = Refused(400, "the body is not JSON", "invalid_json")


async def _invalid(request: Request, error: Exception) -> Response:
    """Of several fields the first; what was sent is not said again."""
    details = error.errors() if isinstance(error, RequestValidationError) else []
    first = details[0] if details else {"loc": (), "msg": "invalid"}
    names = [str(part) for part in first["loc"] if part != "body"]
    if first.get("type") == "json_invalid":
        return _answer(_NO_JSON)
    if first.get("type") == "model_attributes_type":  # a body that nobody has read as JSON, or JSON without names
        return _answer(Refused(422, "body: a JSON object, with Content-Type: application/json", "invalid_value"))
    field = names[0] if names else None
    said = [d["msg"] for d in details if d["loc"][:2] == first["loc"][:2]]  # a text, or a list of them
    return _answer(Refused(422, f"{field or 'body'}: {' or: '.join(dict.fromkeys(said))}", "invalid_value", field))


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 400:
        return _answer(_NO_JSON)
    headers = dict(getattr(error, "headers", None) or {})
    words = {404: "there is nothing here", 405: "another method is needed"}
    return _answer(Refused(status, words.get(status, "refused"), "http_error", headers=headers))


async def _refused(request: Request, error: Exception) -> Response:
    return _answer(error if isinstance(error, Refused) else Refused(500, "the server failed", "internal_error"))


def _answer(error: Refused) -> Response:
    return Response(encoded(error.body()), error.status, error.headers, "application/json")
