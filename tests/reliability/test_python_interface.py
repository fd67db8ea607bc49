"""The Python interface under load: arbitrary text, many threads, many sentences."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from bang_plugin.models.bang import BangModel
from tests.test_commands import MODES

from .arbitrary import lines
from .soak import BATCH, report, soak_alone

THREADS = 8
SENTENCES = int(os.environ.get("BANG_SOAK", "10000"))


@pytest.fixture
def load(toy_data, toy_checkpoint, tmp_path):
    """Load a folder with a checkpoint and its dictionaries."""
    shutil.copy(toy_checkpoint, tmp_path / "model.pt")
    for name in ("dict.src.txt", "dict.tgt.txt"):
        shutil.copy(toy_data / "bin" / name, tmp_path / name)
    return partial(BangModel.from_pretrained, str(tmp_path), source_lang="src", target_lang="tgt")


def answer(hub, batch: int, texts):
    options = {"beam": 2, "max_len_b": 12, "decoding": MODES[batch % len(MODES)]}
    return [[(h["text"], float(h["score"])) for h in hypotheses] for hypotheses in hub.generate(texts, **options)]


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_threads_do_not_see_each_other(load, count):
    """Eight threads share a model, each batch in another mode, and give what one thread gives."""
    hub = load(truncate_source=True)
    texts = [line.decode("utf-8", errors="replace") for line in lines(count)]
    batches = [texts[start : start + 20] for start in range(0, count, 20)]
    alone = [answer(hub, number, batch) for number, batch in enumerate(batches)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda pair: answer(hub, *pair), enumerate(batches)))
    assert [len(answers) for answers in alone] == [len(batch) for batch in batches]
    for one, other in zip(alone, together):
        for one_text, other_text in zip(one, other):
            assert [text for text, _ in one_text] == [text for text, _ in other_text]
            assert [score for _, score in one_text] == pytest.approx([score for _, score in other_text], abs=1e-4)


@pytest.mark.slow
def test_soak(load, capsys):
    """Memory is flat: ``BANG_SOAK=50000`` for more sentences."""
    taken = soak_alone(load, SENTENCES)
    with capsys.disabled():
        print("\n" + report(taken))
    half = taken[len(taken) // 2]
    assert taken[-1].objects - half.objects < SENTENCES // 2 // BATCH  # not even one for every batch
    assert taken[-1].memory - half.memory < 2**25
