"""The Python interface: what fairseq's commands write, from plain calls."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel
from scripts.tokenise import main as tokenise
from tests.command_line import fairseq, hypotheses

LINES = ["a b c", "h g f e d c b a", "", "a"]
MODES = [
    {"decoding": "ar", "beam": 2},
    {"decoding": "nar"},
    {"decoding": "semi_nar", "block_size": 2},
    {"decoding": "adaptive", "block_size": 3, "confidence": 0.5},
    {"decoding": "speculative", "block_size": 3},
]


@pytest.fixture(scope="module")
def hub(toy_data, toy_checkpoint):
    return BangModel.from_pretrained(str(Path(toy_checkpoint).parent), data_name_or_path=toy_data / "bin")


@pytest.mark.parametrize("mode", MODES)
def test_equals_the_command(hub, toy_data, toy_checkpoint, mode):
    options = [part for name, value in mode.items() for part in (f"--{name.replace('_', '-')}", value)]
    base = [toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--cpu", "--max-len-b", 15]
    output = fairseq("interactive", *base, *options, stdin="".join(line + "\n" for line in LINES))
    for (_, text), found in zip(hypotheses(output).values(), hub.generate(LINES, **mode, max_len_b=15)):
        assert found[0]["text"] == text and found[0]["passes"] >= 1
    assert hub.sample(LINES, **mode, max_len_b=15) == [text for _, text in hypotheses(output).values()]


def test_one_text_and_none(hub):
    alone = hub.generate("a b c", decoding="nar", max_len_b=15)
    assert alone[0]["text"] == hub.generate(["a b c"], decoding="nar", max_len_b=15)[0][0]["text"]
    assert hub.generate([]) == []
    assert hub.decode(hub.encode("a b c")) == "a b c"


def test_calls_leave_no_trace(hub):
    before = hub.generate(LINES, beam=1, max_len_b=15)
    hub.generate(LINES, decoding="nar", max_len_b=3)
    after = hub.generate(LINES, beam=1, max_len_b=15)
    assert [h[0]["text"] for h in before] == [h[0]["text"] for h in after]


def test_threads(hub):
    jobs = [mode for mode in MODES for _ in range(8)]
    alone = [hub.sample(LINES, **mode, max_len_b=15) for mode in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda mode: hub.sample(LINES, **mode, max_len_b=15), jobs))
    assert together == alone


def test_score_is_what_generation_says(hub):
    """AR's own hypotheses, scored again, have the scores that the search gave them."""
    lines = LINES[:2]
    found = [h[0] for h in hub.generate(lines, beam=1, max_len_b=15)]
    scored = hub.score(lines, [h["text"] for h in found])
    for a, b in zip(found, scored):
        torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=1e-4, rtol=0)
        assert a["score"].item() == pytest.approx(b["score"].item(), abs=1e-4)
    assert hub.score(lines[0], found[0]["text"])["score"].item() == pytest.approx(scored[0]["score"].item(), abs=1e-5)
    with pytest.raises(BangError, match="2 sources, but 1 targets"):
        hub.score(lines, ["A"])
    with pytest.raises(BangError, match="not a text and a list"):
        hub.score("ab", ["A", "B"])
    assert "passes" not in scored[0] and "passes" in found[0]


def test_tokeniser_from_the_folder(toy_data, toy_checkpoint, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(toy_data / "bin", folder)
    shutil.copy(toy_checkpoint, folder / "model.pt")
    text = tmp_path / "text"
    text.write_text("".join(c + "\n" for c in "abcdefgh" * 30))
    tokenise(["train", "--model", str(folder / "letters.model"), "--size", "12", str(text)])
    hub = BangModel.from_pretrained(str(folder))
    assert hub.apply_bpe("abc").split() == ["▁", "a", "b", "c"] and hub.remove_bpe("▁ a b c") == "abc"
    (folder / "vocab.txt").write_text("[UNK]\n")
    with pytest.raises(BangError, match="several tokenisers, letters.model, vocab.txt"):
        BangModel.from_pretrained(str(folder))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda hub: hub.generate("a", decoding="sideways"), "decoding='sideways': .*expected one of .ar, nar"),
        (lambda hub: hub.generate("a", decoding="nar", blok_size=3), "unknown option blok_size"),
        (lambda hub: hub.generate("a", decoding="nar", sampling=True), "--sampling needs --decoding ar"),
        (lambda hub: hub.generate("a", decoding="semi_nar", block_size=0), "--block-size must be at least 1"),
        (lambda hub: hub.generate(["a", " ".join("a" * 50)]), "line 2: .*--truncate-source"),
        (lambda hub: hub.generate("a", decoding="nar", prefix_allowed_tokens_fn=len), "prefix_allowed_tokens_fn"),
    ],
)
def test_bad_calls(hub, call, message):
    with pytest.raises(BangError, match=message):
        call(hub)


def test_bad_folders(tmp_path):
    with pytest.raises(BangError, match="no such folder"):
        BangModel.from_pretrained(str(tmp_path / "none"))
    with pytest.raises(BangError, match="none of model.pt, checkpoint_best.pt, checkpoint_last.pt"):
        BangModel.from_pretrained(str(tmp_path))
