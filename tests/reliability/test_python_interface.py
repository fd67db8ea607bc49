"""The Python interface under load: arbitrary text, many threads, many sentences."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bang_plugin.models.bang import BangModel
from tests.test_commands import MODES

from .arbitrary import lines
from .soak import report, slope, soak

THREADS = 8
SENTENCES = int(os.environ.get("BANG_SOAK", 5000))


@pytest.fixture(scope="module")
def hub_folder(toy_data, toy_checkpoint, tmp_path_factory):
    """A folder with a checkpoint and its dictionaries."""
    folder = tmp_path_factory.mktemp("hub")
    shutil.copy(toy_checkpoint, folder / "model.pt")
    for name in ("dict.src.txt", "dict.tgt.txt"):
        shutil.copy(Path(toy_data) / "bin" / name, folder / name)
    return folder


def answer(hub, batch: int, texts):
    options = {"beam": 2, "max_len_b": 12, "decoding": MODES[batch % len(MODES)]}
    return [[(h["text"], float(h["score"])) for h in hypotheses] for hypotheses in hub.generate(texts, **options)]


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_threads_do_not_see_each_other(hub_folder, count):
    """Eight threads share a model, each batch in another mode, and give what one thread gives."""
    hub = BangModel.from_pretrained(str(hub_folder), truncate_source=True)
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
def test_soak(hub_folder, capsys):
    """Memory is flat: ``BANG_SOAK=50000`` for more sentences."""
    taken = soak(BangModel.from_pretrained(str(hub_folder)), SENTENCES)
    with capsys.disabled():
        print("\n" + report(taken))
    assert slope(taken) * SENTENCES < 2**24  # bytes; a leak of one batch in a hundred would be more
