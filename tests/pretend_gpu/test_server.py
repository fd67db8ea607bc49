"""The server's engine on a pretended GPU; in the thread that asks, since no other is seen."""

import logging
import time
from argparse import Namespace
from pathlib import Path

import pytest

from bang_plugin.commands import serve
from bang_plugin.serving.engine import Engine
from bang_plugin.serving.jobs import Job, Piece
from bang_plugin.serving.metrics import Metrics

from .test_commands import LINES, MODES, used


def loaded(folder, data, device=None):
    """As ``bang serve`` loads."""
    asked = {"folder": str(folder), "data": str(data), "device": device, "checkpoint_file": None}
    level = logging.getLogger().level
    try:
        return serve._load(Namespace(**asked, quantize="none", threads=None, truncate_source=False))
    finally:
        logging.getLogger().setLevel(level)


def answers(hub, texts, options, **asked) -> list:
    """What is told of each text, of its passes first: ``Piece``s, and a list of ``Answer`` at last.

    Raises:
        RuntimeError: if the batch fails.
    """
    engine, told = Engine(hub, Metrics()), [[] for _ in texts]
    plan = engine.plan(options)
    sources = [engine.encode(text) for text in texts]
    end = time.monotonic() + 1000
    engine.run([Job(plan, s, engine.limit(plan, s), end, box.append, **asked) for s, box in zip(sources, told)])
    for box in told:
        if isinstance(box[-1], BaseException):
            raise RuntimeError(str(box[-1]))
    return told


@pytest.fixture(autouse=True)
def no_fault(toy_checkpoint, pretended_gpu):
    yield
    assert not pretended_gpu.faults


@pytest.mark.parametrize("decoding", MODES)
def test_what_is_told_is_what_the_cpu_tells(toy_data, toy_checkpoint, pretended_gpu, decoding):
    """On the GPU that ``bang serve`` finds by itself; answers, their scores, and records of passes."""
    folder, data = Path(toy_checkpoint).parent, toy_data / "bin"
    options = {"decoding": decoding, "max_len_b": 12, **({"beam": 2} if decoding == "ar" else {})}
    expected = answers(loaded(folder, data, "cpu"), LINES, options, watched=True, traced=True)
    assert not used(pretended_gpu)
    found = answers(loaded(folder, data), LINES, options, watched=True, traced=True)
    assert used(pretended_gpu)
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs) > 1
        for one, other in zip(ours[:-1], theirs[:-1]):
            assert isinstance(one, Piece) and (one.text, one.record["tokens"]) == (other.text, other.record["tokens"])
        assert ours[-1][0].text == theirs[-1][0].text
        assert ours[-1][0].score == pytest.approx(theirs[-1][0].score, abs=1e-3)
