"""Answers as OpenAI's clients read them: whole, or as server-sent events."""

import asyncio
import json
import logging
import math
import time
import uuid
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .jobs import Answer, Job, Mailbox, Piece, Refused, refusal
from .queue import Queue

logger = logging.getLogger(__name__)

Message = Tuple[int, Any]  # number of the job, and what it is told


def finite(value: float) -> Optional[float]:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def late(seconds: float) -> Refused:
    """What a client is told whose request took too long."""
    return Refused(504, f"no answer within {seconds:g} seconds", "timeout")


class Replies:
    """Builds the parts of one request's answer.

    Args:
        model: its name.
        prompts: tokens of them all, end symbols apart.
        n: answers to each.
        logprobs: as asked for; None: none.
        trace: passes are told of.
        text_of: text of token ids.
    """

    def __init__(
        self,
        model: str,
        prompts: int,
        n: int,
        logprobs: Optional[int],
        trace: bool,
        text_of: Callable[[List[int]], str],
    ):
        self.head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time())}
        self.head["model"] = model
        self.prompts, self.n, self.logprobs, self.trace, self.text_of = prompts, n, logprobs, trace, text_of
        self.written = 0

    def choice(self, index: int, answer: Answer, text: str) -> Dict[str, Any]:
        """An answer, of whose text only ``text`` has not been sent."""
        self.written += max(len(answer.ids) - 1, 0)
        return {
            "text": text,
            "index": index,
            "logprobs": self._logprobs(answer),
            "finish_reason": "length" if answer.full else "stop",
            "score": finite(answer.score),
            "passes": answer.passes,
        }

    def _logprobs(self, answer: Answer) -> Optional[Dict[str, Any]]:
        if self.logprobs is None:
            return None
        scores = [finite(score) for score in answer.scores[: len(answer.tokens)]]
        return {
            "tokens": answer.tokens,
            "token_logprobs": scores,
            "top_logprobs": [{token: score} for token, score in zip(answer.tokens, scores)] if self.logprobs else None,
            "text_offset": [len(self.text_of(answer.ids[:i])) for i in range(len(answer.tokens))],
        }

    def whole(self, answers: List[List[Answer]]) -> Dict[str, Any]:
        """All answers at once, ``n`` for each prompt."""
        choices = [
            {**self.choice(job * self.n + i, answer, answer.text), **({"trace": answer.trace} if self.trace else {})}
            for job, found in enumerate(answers)
            for i, answer in enumerate(found)
        ]
        return {**self.head, "choices": choices, "usage": self.usage()}

    def usage(self) -> Dict[str, int]:
        """Tokens so far."""
        return {
            "prompt_tokens": self.prompts,
            "completion_tokens": self.written,
            "total_tokens": self.prompts + self.written,
        }

    def event(self, choices: List[Dict[str, Any]], **more: Any) -> bytes:
        """One server-sent event."""
        return b"data: " + encoded({**self.head, "choices": choices, **more}) + b"\n\n"

    def piece(self, index: int, piece: Piece) -> bytes:
        """What a pass added."""
        choice: Dict[str, Any] = {"text": piece.text, "index": index, "logprobs": None, "finish_reason": None}
        if self.trace:
            choice["trace"] = piece.record
        return self.event([choice])


def encoded(value: Any) -> bytes:
    """As compact JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Waiter:
    """One request's jobs, from the queue to their ends; the client may leave, or time may be over.

    Args:
        queue: the queue.
        jobs: of the request; each tells ``mailbox`` with its number.
        mailbox: theirs.
        receive: ASGI's, from which only the client's leaving is still to come.
        seconds: the time limit.
    """

    def __init__(self, queue: Queue, jobs: List[Job], mailbox: Mailbox, receive: Receive, seconds: float):
        self.queue, self.jobs, self.mailbox, self.seconds = queue, jobs, mailbox, seconds
        self.receive = receive

    async def __aenter__(self) -> "Waiter":
        self.queue.put(self.jobs)
        self.gone = asyncio.create_task(self._leaving())
        left = self.jobs[0].deadline - time.monotonic()
        self.over = self.mailbox.loop.call_later(left, self.mailbox.queue.put_nowait, (0, late(self.seconds)))
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.queue.give_up(self.jobs)
        self.gone.cancel()
        self.over.cancel()

    async def _leaving(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.mailbox.queue.put_nowait((0, ClientGone()))

    async def next(self) -> Message:
        """What is told next.

        Raises:
            Refused: when the time is over, or the job's batch has failed.
            ClientGone: when the client has left.
        """
        message: Message = await self.mailbox.queue.get()
        if isinstance(message[1], ClientGone):
            raise message[1]
        if isinstance(message[1], BaseException):
            raise refusal(message[1])
        return message


class ClientGone(Exception):
    """The client has left; nothing can be told it any more."""


class EventStream(Response):
    """An answer as server-sent events; the last one is ``[DONE]``.

    Args:
        waiter: of the request; it has not begun to wait.
        replies: builds the events.
        usage: a last event tells the tokens.
    """

    media_type = "text/event-stream"

    def __init__(self, waiter: Waiter, replies: Replies, usage: bool):
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.waiter, self.replies, self.usage = waiter, replies, usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come; a reader that is too slow is left when the time is over."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + self.waiter.seconds + 5):
                await self._send(lambda body: send({"type": "http.response.body", "body": body, "more_body": True}))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientGone, OSError):
            pass
        except TimeoutError:
            logger.warning("a client did not read its answer within the time limit")
        finally:
            await self.waiter.__aexit__()

    async def _send(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        missing, n = len(self.waiter.jobs), self.replies.n
        try:
            while missing:
                number, told = await self.waiter.next()
                if isinstance(told, Piece):
                    await send(self.replies.piece(number * n, told))
                    continue
                missing -= 1
                # the first answer's text has been sent as it grew
                choices = [
                    self.replies.choice(number * n + i, answer, answer.text if i else "")
                    for i, answer in enumerate(told)
                ]
                if self.replies.trace:
                    choices[0]["output"] = told[0].text
                await send(self.replies.event(choices))
        except Refused as error:
            await send(b"data: " + encoded(error.body()) + b"\n\n")
            return
        if self.usage:
            await send(self.replies.event([], usage=self.replies.usage()))
        await send(b"data: [DONE]\n\n")
