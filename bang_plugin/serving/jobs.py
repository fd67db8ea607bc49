"""A job: one text to be answered or scored, and who waits for it."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

from torch import Tensor

from ..errors import BangError


class Refused(Exception):
    """What a client is told instead of an answer.

    Attributes:
        status: of HTTP.
        message: one line.
        code: for programs.
        field: of the request, or None.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        field: Optional[str] = None,
        headers: Optional[Dict[str, str]] = None,
    ):
        super().__init__(message)
        self.status, self.message, self.code, self.field = status, message, code, field
        self.headers = headers or {}

    def body(self) -> Dict[str, Any]:
        """As OpenAI's clients read it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.field, "code": self.code}}


class Abandoned(Exception):
    """Nobody waits for the batch any more."""


@dataclass(eq=False)
class Plan:
    """What is common to jobs that may be decoded together.

    Attributes:
        key: the options that were given, and what else must be equal.
        decoding: name.
        options: that were given.
        width: rows of a pass for each sentence, about.
        task, generator: what writes; None to score.
        max_len_a, max_len_b, min_len: of the output.
        same_length: sources of a batch must be of one length, since fairseq's search takes its limit from the longest.
        sampling: each request draws by itself.
    """

    key: str
    decoding: str
    options: Dict[str, Any]
    width: int = 1
    task: Any = None
    generator: Any = None
    max_len_a: float = 0.0
    max_len_b: int = 0
    min_len: int = 0
    same_length: bool = False
    sampling: bool = False


@dataclass
class Answer:
    """One output.

    Attributes:
        ids: with the end symbol.
        tokens: as text, without it.
        scores: log-probabilities of each of ``ids`` (nats).
        score: as fairseq's.
        text: of all.
        passes, proposed, kept: see ``Hypothesis``.
        full: it was ended by the length limit.
        trace: a record for each pass.
    """

    ids: List[int]
    tokens: List[str]
    scores: List[float]
    score: float
    text: str
    passes: int = 0
    proposed: int = 0
    kept: int = 0
    full: bool = False
    trace: List[Dict[str, Any]] = field(default_factory=list)


@dataclass
class Piece:
    """What a pass added to the answer of a job that is streamed; its record is None if no pass can be told."""

    text: str
    record: Optional[Dict[str, Any]]


@dataclass(eq=False)
class Job:
    """One text in the queue.

    Attributes:
        plan: how.
        source: token ids ``(src_len,)``.
        limit: most tokens of the answer, its end symbol apart.
        deadline: of ``time.monotonic()``.
        n: how many answers.
        watched: passes are told of.
        traced: with alternatives, and the drafts that were verified.
        pair: texts to score.
        seed: of sampling.
        tell: called by the decoding thread with ``Piece``s, at last with a list of ``Answer`` or an exception.
    """

    plan: Plan
    source: Tensor
    limit: int
    deadline: float
    tell: Callable[[Any], None]
    n: int = 1
    watched: bool = False
    traced: bool = False
    pair: Optional[Tuple[str, str]] = None
    seed: Optional[int] = None
    arrived: float = field(default_factory=time.monotonic)
    abandoned: bool = False

    @property
    def length(self) -> int:
        """Tokens of the source."""
        return len(self.source)

    @property
    def key(self) -> Tuple[Any, ...]:
        """Jobs of equal keys may be decoded together."""
        own = id(self) if self.plan.sampling else self.length if self.plan.same_length else 0
        return (self.plan.key, own)

    def waited_for(self, now: float) -> bool:
        """Whether somebody still wants the answer."""
        return not self.abandoned and now < self.deadline


class Mailbox:
    """What the decoding thread tells of a job, in the event loop's hands.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def tell(self, message: Any) -> None:
        """From any thread; nothing happens once the loop has ended."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.queue.put_nowait, message)


def refusal(error: BaseException) -> Refused:
    """What a client is told of an error of the decoding thread: what it can mend, else nothing of our insides."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, BangError):
        return Refused(422, str(error), "invalid_value")
    return Refused(500, "the batch that this request was in failed; the server's log says why", "batch_failed")
