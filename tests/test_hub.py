"""The Python interface: what fairseq's commands write, from plain calls."""

import copy
import gc
import math
import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from bang_plugin.__main__ import main as bang
from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel
from bang_plugin.models.inference import QUANTIZE
from bang_plugin.modules.packed_linear import available
from tests.command_line import fairseq, hypotheses
from tests.conftest import build_reference_model

LINES = ["a b c", "h g f e d c b a", "", "a"]
MODES = [
    {"decoding": "ar", "beam": 2},
    {"decoding": "nar"},
    {"decoding": "semi_nar", "block_size": 2},
    {"decoding": "adaptive", "block_size": 3, "tolerance": 0.5},
    {"decoding": "speculative", "block_size": 3, "beam": 1},
    {"decoding": "speculative", "block_size": 3, "draft_width": 4, "beam": 3},
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
    assert hub.sample(text for text in ("a b c", "b")) == hub.sample(["a b c", "b"])
    assert hub.decode(hub.encode("a b c")) == "a b c"


@pytest.mark.parametrize("decoding", ["ar", "speculative", "nar"])
def test_nbest(hub, decoding):
    options = {"beam": 4, "decoding": decoding, "max_len_b": 15}
    two = hub.generate(LINES, nbest=2, **options)
    assert [len(found) for found in two] == [2] * len(LINES)
    if decoding != "nar":  # whose chains are counted by nbest alone
        assert [[h["text"] for h in found[:2]] for found in hub.generate(LINES, **options)] == [
            [h["text"] for h in found] for found in two
        ]


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
    bang(["tokenise", "train", "--model", str(folder / "letters.model"), "--size", "12", str(text)])
    hub = BangModel.from_pretrained(str(folder))
    assert hub.apply_bpe("abc").split() == ["▁", "a", "b", "c"] and hub.remove_bpe("▁ a b c") == "abc"
    (folder / "vocab.txt").write_text("[UNK]\n")
    with pytest.raises(BangError, match="several tokenisers, letters.model, vocab.txt"):
        BangModel.from_pretrained(str(folder))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda hub: hub.generate("a", decoding="sideways"), "--decoding sideways: choose one of ar, nar"),
        (lambda hub: hub.generate("a", decoding="nar", blok_size=3), "blok_size; did you mean block_size"),
        (lambda hub: hub.score("a", "A", decoding="nar", blok_size=3), "blok_size; did you mean block_size"),
        (lambda hub: hub.generate("a", lenpen="long"), "lenpen='long': "),
        (lambda hub: hub.generate("a", quantize="int8"), "quantize is nothing .* use from_pretrained"),
        (lambda hub: hub.generate("a", score_reference=True), "score_reference is nothing .* use score"),
        (lambda hub: hub.score("a", "A", decoding="nar", collapse_repeats=True), "no effect with --score-reference"),
        (lambda hub: hub.score("a", " ".join("a" * 50)), "line 1: [^-]*; use a larger --max-target-positions"),
        (lambda hub: hub.generate("a", beam=0), "--beam must be at least 1, not 0"),
        (lambda hub: hub.generate("a", beam=2.5), "beam=2.5: Value '2.5' .* could not be converted to Integer"),
        (lambda hub: hub.generate("a", beam=2, nbest=3), "--nbest 3 needs at least so many beams, --beam 3"),
        (lambda hub: hub.generate("a", decoding="speculative", beam=1, nbest=2), "--nbest 2 needs at least so many"),
        (lambda hub: hub.generate("a", max_len_b=-1), "--max-len-b must be at least 0, not -1"),
        (lambda hub: hub.generate("a", temperature=0), "--temperature must be above 0"),
        (lambda hub: hub.generate("a", sampling_topk=3), "--sampling-topk requires --sampling"),
        (
            lambda hub: hub.generate("a", sampling=True, sampling_topk=500),
            "--sampling-topk must be at most [0-9]+, not 5",
        ),
        (lambda hub: hub.generate("a", decoding="nar", sampling=True, sampling_topp=1.5), "--sampling-topp must be at"),
        (lambda hub: hub.generate("a", constraints="ordered"), "constraints .* inference_step_args="),
        (lambda hub: hub.generate(["a", None]), r"text 2: a string or ids \(src_len,\) are needed, not NoneType"),
        (lambda hub: hub.generate([["a", "b"]]), "text 1: a string or ids .* not list"),
        (lambda hub: hub.generate(b"red"), "text 1: a string or ids .* not int"),
        (lambda hub: hub.generate(torch.tensor([4, 10**6])), "text 1: ids from 0 to [0-9]+ are known, not .*1000000"),
        (lambda hub: hub.generate("a", decoding="adaptive", sampling=True), "--sampling needs --decoding ar"),
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
    with pytest.raises(BangError, match="none of model.pt, model.safetensors, checkpoint_best.pt, checkpoint_last.pt"):
        BangModel.from_pretrained(str(tmp_path))


@pytest.fixture
def moved(toy_data, toy_checkpoint, tmp_path):
    """A folder with a checkpoint and its dictionaries, on another machine than the data; trained with many options."""
    state = torch.load(toy_checkpoint, weights_only=True)
    assert state["cfg"]["task"]["source_lang"] is None
    saved = {"decoding": "nar", "print_trace": True, "trace_file": "old.jsonl", "quantize": "int8", "eval_bleu": True}
    saved["eval_decodings"] = "ar,nar"
    state["cfg"]["task"].update(saved, data="/gone", truncate_source=True, block_size=2)
    state["cfg"]["generation"].update(beam=1, max_len_b=1)
    folder = tmp_path / "moved"
    folder.mkdir()
    torch.save(state, folder / "model.pt")
    for side in ("src", "tgt"):
        shutil.copy(toy_data / "bin" / f"dict.{side}.txt", folder)
    return folder


def test_a_moved_folder_and_its_saved_options(moved, hub, monkeypatch, tmp_path, capsys):
    """Dictionaries beside the checkpoint are enough; how to write comes from the call, not from the checkpoint."""
    monkeypatch.chdir(tmp_path)
    loaded = BangModel.from_pretrained(str(moved))
    for mode in ({}, *MODES):
        ours, theirs = (h.generate(LINES, **mode, max_len_b=15) for h in (loaded, hub))
        assert [h[0]["text"] for h in ours] == [h[0]["text"] for h in theirs]
    assert len(loaded.generate("a b c")) == 5  # beam
    long = " ".join("a" * 50)
    with pytest.raises(BangError, match="line 1: .*--truncate-source"):
        loaded.generate(long, max_len_b=3)
    assert "R-0" not in capsys.readouterr().out and not Path("old.jsonl").exists()
    asked = BangModel.from_pretrained(str(moved), decoding="nar", truncate_source=True, max_len_b=4, trace_file="new")
    assert asked.generate("a")[0]["passes"] == 1 and Path("new").exists()
    assert len(asked.generate("h g f e d c b a")[0]["tokens"]) <= 5


def test_every_call_begins_its_trace_anew(hub, tmp_path):
    """Also where Python has not collected the generator yet that wrote the last one."""
    trace = tmp_path / "trace"
    gc.disable()
    try:
        for _ in range(2):
            hub.generate(["a b", "c"], decoding="nar", max_len_b=5, trace_file=str(trace))
    finally:
        gc.enable()
    assert len(trace.read_text().splitlines()) == 2


def test_a_saved_trace_does_not_go_on(moved, toy_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data, common = toy_data / "bin", ["--task", "bang", "--path", moved / "model.pt", "--cpu"]
    fairseq("generate", data, *common, "--decoding", "nar", "--max-len-b", 5)
    fairseq("validate", data, *common, "--max-tokens", 500, "--valid-subset", "valid")
    assert "R-0" not in capsys.readouterr().out and not Path("old.jsonl").exists()


def test_older_checkpoints_know_newer_options(moved):
    state = torch.load(moved / "model.pt", weights_only=True)
    for name in ("quantize", "nar_candidates", "decoding"):
        del state["cfg"]["task"][name]
    torch.save(state, moved / "model.pt")
    loaded = BangModel.from_pretrained(str(moved), decoding="nar", nar_candidates=2)
    assert loaded.task.cfg.decoding == "nar" and loaded.task.cfg.nar_candidates == 2


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"max_len_c": 3}, "unknown option max_len_c; did you mean max_len_b"),
        ({"trunkate_source": True}, "did you mean truncate_source"),
        ({"decoding": "sideways"}, "--decoding sideways: choose one of ar, nar"),
        ({"quantize": "int9"}, "model.pt: .*int9"),
        ({"max_len_b": "long"}, "model.pt: .*long"),
        ({"data_name_or_path": "/gone"}, "/gone: .*source-lang"),
        ({"bpe": "sentencepiece", "sentencepiece_model": "gone.model"}, "bpe sentencepiece.* cannot be had"),
        ({"source_lang": "xx", "target_lang": "yy"}, "dict.xx.txt"),
    ],
)
def test_bad_overrides(moved, overrides, message):
    with pytest.raises(BangError, match=message):
        BangModel.from_pretrained(str(moved), **overrides)


def test_folders_that_lack_something(moved, tmp_path, toy_data):
    (moved / "x.model").write_text("no sentencepieces")
    with pytest.raises(BangError, match="x.model: not a sentencepiece model"):
        BangModel.from_pretrained(str(moved))
    (moved / "x.model").unlink()
    shutil.copy(moved / "dict.src.txt", moved / "dict.third.txt")
    with pytest.raises(BangError, match="language pair.*--source-lang"):
        BangModel.from_pretrained(str(moved))
    BangModel.from_pretrained(str(moved), source_lang="src", target_lang="tgt")
    for name in ("src", "tgt", "third"):
        (moved / f"dict.{name}.txt").unlink()
    with pytest.raises(BangError, match="no dictionaries .* beside it, and .* /gone, is not there"):
        BangModel.from_pretrained(str(moved))
    state = torch.load(moved / "model.pt", weights_only=True)
    state["cfg"]["task"] = {"_name": "bang_pretraining", "data": "/gone"}
    torch.save(state, moved / "model.pt")
    with pytest.raises(BangError, match="a checkpoint of task bang_pretraining, which writes no answers: fine-tune"):
        BangModel.from_pretrained(str(moved))


def test_a_saved_tokeniser_that_has_not_moved_along(moved, toy_data):
    state = torch.load(moved / "model.pt", weights_only=True)
    state["cfg"]["bpe"] = {"_name": "sentencepiece", "sentencepiece_model": "/gone/x.model"}
    torch.save(state, moved / "model.pt")
    with pytest.raises(BangError, match="bpe sentencepiece, which the checkpoint asks for, cannot be had"):
        BangModel.from_pretrained(str(moved))
    text = moved / "text"
    text.write_text("".join(c + "\n" for c in "abcdefgh" * 30))
    bang(["tokenise", "train", "--model", str(moved / "letters.model"), "--size", "12", str(text)])
    assert BangModel.from_pretrained(str(moved)).apply_bpe("abc").split() == ["▁", "a", "b", "c"]


@pytest.mark.parametrize("mode", [*MODES, {"decoding": "nar", "nar_chunk": 2}])
def test_scores_of_each_decoding_are_those_of_the_command(hub, toy_data, toy_checkpoint, mode):
    options = [part for name, value in mode.items() for part in (f"--{name.replace('_', '-')}", value)]
    base = [toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--cpu", "--score-reference"]
    found = hypotheses(fairseq("generate", *base, *options))
    sources, targets = ((toy_data / f"test.{side}").read_text().splitlines() for side in ("src", "tgt"))
    options = {name: value for name, value in mode.items() if name != "beam"}
    for number, scored in enumerate(hub.score(sources, targets, **options)):
        score, text = found[number]
        assert text == targets[number] and score == pytest.approx(float(scored["score"]) / math.log(2), abs=1e-3)
    assert hub.score([], []) == []


def test_sources_are_cut_for_scores_too(moved, toy_data, toy_checkpoint, tmp_path):
    loaded = BangModel.from_pretrained(str(moved), truncate_source=True)
    lines, targets = [" ".join("abcdefgh" * 5), "a b"], ["A B", "B A"]
    whole, cut = (
        loaded.score(lines, targets, decoding="nar"),
        loaded.score(lines[0][: 2 * 19], targets[0], decoding="nar"),
    )
    assert float(whole[0]["score"]) == pytest.approx(float(cut["score"]), abs=1e-5)
    with pytest.raises(BangError, match="line 1: .*--truncate-source"):
        BangModel.from_pretrained(str(moved)).score(lines, targets)
    for side, text in (("src", lines), ("tgt", targets)):
        (tmp_path / f"test.{side}").write_text("".join(line + "\n" for line in text))
    dictionary = toy_data / "bin" / "dict.src.txt"
    pair = ["--task", "bang", "--source-lang", "src", "--target-lang", "tgt", "--srcdict", dictionary]
    fairseq("preprocess", *pair, "--joined-dictionary", "--testpref", tmp_path / "test", "--destdir", tmp_path / "bin")
    base = [tmp_path / "bin", "--task", "bang", "--path", toy_checkpoint, "--cpu", "--score-reference"]
    found = hypotheses(fairseq("generate", *base, "--decoding", "nar", "--truncate-source"))
    assert found[0][0] == pytest.approx(float(whole[0]["score"]) / math.log(2), abs=1e-3)
    with pytest.raises(BangError, match="line 1: .*--truncate-source"):
        fairseq("generate", *base, "--decoding", "nar")


def write_nar(hub, line):
    return hub.sample(line, decoding="nar", max_len_b=15)


class Written(torch.utils.data.Dataset):
    """Answers of a hub that travels with the data set."""

    def __init__(self, hub, lines):
        self.hub, self.lines = hub, lines

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, i):
        return write_nar(self.hub, self.lines[i])


@pytest.mark.parametrize("quantize", QUANTIZE)
def test_copies_and_pickles(moved, quantize):
    if quantize != "none" and not available(quantize):
        pytest.skip("not on this processor")
    loaded = BangModel.from_pretrained(str(moved), quantize=quantize)
    copies = [copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))]
    for other in copies:
        assert not {id(m) for m in other.models} & {id(m) for m in loaded.models}
        for mode in MODES:
            for a, b in zip(loaded.generate(LINES, **mode, max_len_b=9), other.generate(LINES, **mode, max_len_b=9)):
                assert a[0]["text"] == b[0]["text"]
                assert a[0]["positional_scores"].tolist() == b[0]["positional_scores"].tolist()
        assert other.score("a b", "B A", decoding="nar")["score"] == loaded.score("a b", "B A", decoding="nar")["score"]
        with pytest.raises(BangError, match="--decoding sideways"):
            other.generate("a", decoding="sideways")


def test_other_processes(moved):
    """Sent to the processes of a pool and of a DataLoader, both of them begun from nothing."""
    loaded = BangModel.from_pretrained(str(moved))
    want = [write_nar(loaded, line) for line in LINES]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(write_nar, [(loaded, line) for line in LINES]) == want
    context = {"num_workers": 1, "multiprocessing_context": "spawn", "batch_size": None}
    assert list(torch.utils.data.DataLoader(Written(loaded, LINES), **context)) == want


@pytest.mark.parametrize("options", [{}, {"activation_fn": "linear"}, {"checkpoint_activations": True}])
def test_models_in_training(reference, options, batch):
    model = build_reference_model(reference, **options)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(**batch["net_input"])[0], model(**batch["net_input"])[0])
        assert other.encoder.embed_tokens.weight is other.decoder.embed_tokens.weight
