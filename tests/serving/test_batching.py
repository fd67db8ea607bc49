"""What is decoded together, and that nobody can tell from the answer in whose company it was."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from bang_plugin.serving.jobs import Job, Plan, Refused
from bang_plugin.serving.queue import Queue

from .conftest import held, until
from .test_completions import MODES


def job(length: int, plan: Plan) -> Job:
    return Job(plan, torch.zeros(length), 10, time.monotonic() + 60, lambda message: None)


def queue(**options) -> Queue:
    return Queue(SimpleNamespace(run=lambda jobs: None), **{"places": 99, "max_tokens": 40, "max_wait": 0, **options})


def lengths(batch) -> list[int]:
    return sorted(job.length for job in batch)


def test_batches_are_alike_in_options_and_length():
    one, other = Plan("a", "nar", {}), Plan("b", "ar", {}, width=4)
    waiting = queue()
    waiting.put(
        [job(n, plan) for n, plan in ((5, one), (9, other), (30, one), (6, one), (2, one), (5, other), (5, one))]
    )
    assert lengths(waiting.take()) == [2, 5, 5, 6]  # 30 would make 150 of at most 40
    assert lengths(waiting.take()) == [9]  # two of 9, times 4 beams, would be 72
    assert lengths(waiting.take()) == [30] and lengths(waiting.take()) == [5] and not waiting.waiting


def test_what_has_to_be_alone_or_among_its_length():
    sampling, equal = Plan("s", "ar", {}, sampling=True), Plan("l", "ar", {}, same_length=True)
    waiting = queue()
    waiting.put([job(3, sampling), job(3, sampling), job(4, equal), job(5, equal), job(4, equal)])
    assert [lengths(waiting.take()) for _ in range(4)] == [[3], [3], [4, 4], [5]]


def test_places():
    plan = Plan("a", "nar", {})
    waiting = queue(places=2)
    jobs = [job(1, plan), job(1, plan)]
    waiting.put(jobs)
    with pytest.raises(Refused) as error:
        waiting.put([job(1, plan)])
    assert error.value.status == 429 and int(error.value.headers["Retry-After"]) >= 1
    waiting.give_up(jobs[:1])
    waiting.put([job(1, plan)])
    with pytest.raises(Refused, match="3 texts are more than 2"):
        waiting.put([job(1, plan)] * 3)


@pytest.mark.parametrize("max_wait, together", [(0, [4, 1, 1]), (100_000, [4, 2])])
def test_waiting_for_company_that_has_been_there(max_wait, together):
    """Alone at first a job never waits; after a batch of several it does, as long as --max-wait says."""
    plan, batches = Plan("a", "nar", {}), []

    async def written(number):
        while sum(batches) < number:
            await asyncio.sleep(0.001)

    async def run():
        waiting = queue(max_wait=max_wait)
        waiting.engine.run = lambda jobs: batches.append(len(jobs))
        waiting.put([job(2, plan) for _ in range(4)])
        waiting.start()
        await written(4)
        waiting.put([job(2, plan)])
        await (asyncio.sleep(0.05) if max_wait else written(5))
        waiting.put([job(2, plan)])
        await waiting.close()

    asyncio.run(run())
    assert batches == together


def test_results_do_not_depend_on_the_company(served):
    """Each answer equals the one that its request gets alone; and they were decoded in batches."""
    lines = ["a", "h g f e d c b a", "b c", "", "c c c c c"]
    modes = [*MODES, {"decoding": "ar", "beam": 2, "max_len_a": 0.7, "max_tokens": 3}, {"match_source_len": True}]
    asked = [{"prompt": line, "logprobs": 0, **mode} for mode in modes for line in lines]
    alone = [served.post(**body).json()["choices"][0] for body in asked]
    value = served.service.metrics.registry.get_sample_value
    before = value("bang_batch_sentences_count")
    with ThreadPoolExecutor(len(asked)) as pool, held(served.service) as hold:
        jobs = [pool.submit(served.post, **body) for body in asked]
        until(lambda: len(served.service.queue.waiting) >= len(asked) - 9)
        hold.free.set()
        together = [job.result().json()["choices"][0] for job in jobs]
    assert value("bang_batch_sentences_count") - before <= len(asked) / 2
    for a, b in zip(alone, together):
        assert a["text"] == b["text"] and a["finish_reason"] == b["finish_reason"]
        assert a["score"] == pytest.approx(b["score"], abs=1e-4)
        assert a["logprobs"]["token_logprobs"] == pytest.approx(b["logprobs"]["token_logprobs"], abs=1e-4)
