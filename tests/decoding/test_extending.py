"""The code of docs/extending.md, run as it stands there, and what else a decoding of one's own meets."""

import argparse
import contextlib
import io
import json
import math
import re
import shlex
import sys
from pathlib import Path

import pytest
from fairseq import utils

from bang_plugin.decoding import Observer, Step, register_decoding, registry, subscribe
from bang_plugin.decoding.stats import TraceRecorder
from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel
from bang_plugin.tasks.bang import BangTask

from ..command_line import fairseq, hypotheses
from ..conftest import SMALL
from .conftest import write

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
MODE, FROM_PYTHON, OBSERVER = re.findall(r"```python[^\n]*\n(.*?)```", TEXT, re.S)
COMMANDS = re.search(r"```sh\n(.*?)```", TEXT, re.S)[1].splitlines()


@pytest.fixture
def forgotten():
    """Decodings that a test registers are gone after it."""
    before = registry.names()
    yield
    for name in set(registry.names()) - set(before):
        registry.unregister(name)


@pytest.fixture
def place(toy_data, toy_checkpoint, tmp_path, monkeypatch, forgotten):
    """A folder where the names in the text mean something."""
    (tmp_path / "my_modes").mkdir()
    (tmp_path / "my_modes" / "__init__.py").write_text(MODE)
    (tmp_path / "data-bin").symlink_to(toy_data / "bin")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint_best.pt").symlink_to(toy_checkpoint)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_modes", None)
    utils.import_user_module.memo.discard(str(tmp_path / "my_modes"))


def run(line: str, *more, **options) -> str:
    command, *arguments = shlex.split(line)
    at = arguments.index("--user-dir")
    user_dir = arguments[at + 1]
    del arguments[at : at + 2]
    name = command.removeprefix("fairseq-")
    return fairseq(name, *arguments, "--cpu", *more, user_dir=user_dir, **options)


def execute(code: str, variables: dict) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "docs/extending.md", "exec"), variables)
    return out.getvalue()


def test_the_text_runs(place, toy_data):
    """Every block; the command, Python and the scores agree."""
    writing, scoring = COMMANDS
    written = run(writing, "--max-len-b", 15)
    passes = re.findall(r"^R-\d+\tpass \d+\t(\d+)/4\t(.*)$", written, re.M)
    assert sorted(hypotheses(written)) == list(range(43)) and len(passes) > 43
    for kept, cells in passes:
        probabilities = [float(p) for p in re.findall(r"\(([\d.]+)\)", cells)]
        assert int(kept) == 1 or math.prod(probabilities[: int(kept)]) > 0.48  # two decimals are printed
    assert len({kept for kept, _ in passes}) > 1
    found = hypotheses(run(scoring))
    variables: dict = {}
    text, count, score = re.fullmatch(r"(.*) (\d+) tensor\((.*)\)\n", execute(FROM_PYTHON, variables)).groups()
    hub = variables["hub"]
    assert hub.score("a b c", text, decoding="cumulative", decoding_args={"threshold": 0.5})["score"] == pytest.approx(
        float(score), abs=1e-3
    )
    sources, targets = ((toy_data / f"test.{side}").read_text().splitlines() for side in ("src", "tgt"))
    for number, scored in enumerate(hub.score(sources, targets, decoding="cumulative")):
        assert found[number][0] == pytest.approx(float(scored["score"]) / math.log(2), abs=1e-3)
    texts = hub.sample(sources, decoding="cumulative", decoding_args={"threshold": 0.5}, max_len_b=15)
    assert texts == [hypotheses(written)[i][1] for i in range(len(texts))]
    kept = json.loads(execute(OBSERVER, variables))
    alone = [hub.generate(t, decoding="semi_nar", block_size=2)[0] for t in ("a b c", "a")]
    assert sum(kept) == sum(h["kept"] for h in alone) and len(kept) == sum(h["passes"] for h in alone)


def test_the_mode_everywhere_else(place, toy_data):
    """fairseq-interactive, validation by several decodings, and the texts that fairseq's documentation is made of."""
    line = "fairseq-interactive data-bin --user-dir my_modes --task bang --path checkpoints/checkpoint_best.pt"
    answers = run(line, "--decoding", "cumulative", "--max-len-b", 15, stdin="a b c\nh g\n")
    assert sorted(hypotheses(answers)) == [0, 1]
    log, args = place / "log", {"max_len_b": 9, "decoding_args": {"threshold": 0.9}}
    train = "fairseq-train data-bin --user-dir my_modes --task bang --max-update 1 --no-save --eval-bleu"
    options = [*SMALL, "--eval-decodings", "ar,cumulative", "--eval-bleu-args", json.dumps(args)]
    run(train, *options, "--log-format", "json", "--log-file", log)
    assert '"valid_cumulative_bleu"' in log.read_text() and '"valid_ar_bleu"' in log.read_text()
    parser = argparse.ArgumentParser()
    BangTask.add_args(parser)
    shown = " ".join(parser.format_help().split())
    assert "cumulative: blocks as long as all their tokens together are probable" in shown
    assert "tokens drafted per pass (semi_nar, confident, adaptive, speculative, cumulative)" in shown


@pytest.fixture
def halting(forgotten):
    """A mode without a likelihood, with options of several types."""

    @register_decoding("halting", help="one token a pass")
    def halting(session, state, nar_chunk, lenpen, limit: int = 3, name: str = "x", loud: bool = False, any=None):
        seen.append({"nar_chunk": nar_chunk, "lenpen": lenpen, "limit": limit, "name": name, "loud": loud, "any": any})

        def step():
            tokens, scores = state.choose(*session.chains(state.pending_tokens()[0], 1))
            session.advance(1)
            return Step(tokens, scores, tokens.new_ones(len(tokens)))

        return step

    seen: list = []
    return seen


def test_options_reach_the_mode(make_task, model, rows, halting):
    write(make_task(decoding="halting", nar_chunk=7), model, rows[:2], lenpen=0.5)
    args = '{"limit": 5, "name": "y", "loud": true, "any": [1]}'
    write(make_task(decoding="halting", decoding_args=args), model, rows[:2], unnormalized=True)
    default = {"nar_chunk": 7, "lenpen": 0.5, "limit": 3, "name": "x", "loud": False, "any": None}
    given = {"nar_chunk": 32, "lenpen": 0.0, "limit": 5, "name": "y", "loud": True, "any": [1]}
    assert halting == [default, given]


@pytest.mark.parametrize(
    "args, message",
    [
        ('{"limt": 5}', "unknown option limt; did you mean limit?"),
        ('{"wholly": 5}', "unknown option wholly; --decoding halting has limit, name, loud, any"),
        ('{"limit": 5.5}', "limit is of type int, not 5.5"),
        ('{"limit": true}', "limit is of type int, not true"),
        ('{"loud": 1}', "loud is of type bool, not 1"),
        ("{limit: 5}", "write JSON, for instance"),
        ("[5]", "write a JSON object"),
    ],
)
def test_unusable_arguments_are_one_line(make_task, halting, args, message):
    with pytest.raises(BangError, match=re.escape(message)) as refused:
        make_task(decoding="halting", decoding_args=args)
    assert str(refused.value).startswith("--decoding-args") and "\n" not in str(refused.value)


def test_what_it_does_not_understand_is_refused(make_task, model, rows, halting):
    with pytest.raises(BangError, match="--sampling True needs --decoding ar|--sampling needs --decoding ar"):
        write(make_task(decoding="halting"), model, rows[:1], sampling=True)
    with pytest.raises(BangError, match="^--score-reference needs --decoding ar or nar or .* give no likelihood$"):
        write(make_task(decoding="halting"), model, rows[:1], score_reference=True)
    with pytest.raises(BangError, match="^--decoding-args .* needs --decoding halting: "):
        make_task(decoding="nar", decoding_args='{"limit": 5}')
    with pytest.raises(BangError, match="^--decoding haltng: choose one of ar, .*; did you mean halting"):
        make_task(decoding="haltng")


def nameless(session, state, blocksize):
    """Takes an option that there is none of."""


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("nar", {}, "decoding nar: bang_plugin.decoding.nar.nar has this name already"),
        ("mine", {}, "its parameter blocksize is no option of decoding; did you mean block_size.* needs a default"),
        ("mine", {"understands": ["beem"], "builds_generator": True}, "unknown option beem; did you mean beam"),
    ],
)
def test_unusable_registrations(forgotten, name, options, message):
    with pytest.raises(BangError, match=message):
        register_decoding(name, help="", **options)(nameless)


def test_a_cell_can_be_run_again(forgotten):
    for _ in range(2):
        register_decoding("again", help="", builds_generator=True)(nameless)
    assert registry.names().count("again") == 1


class Watcher(Observer):
    def __init__(self):
        self.passes, self.batches = [], []

    def on_pass(self, event):
        self.passes.append((event.number, event.rows.tolist(), event.kept.tolist(), event.tokens.tolist()))

    def on_batch(self, event):
        self.batches.append([hypotheses[0] for hypotheses in event.hypotheses])


@pytest.mark.parametrize("mode", [{"decoding": "nar"}, {"decoding": "speculative", "block_size": 3}], ids=str)
def test_observers_are_told_what_is_written(make_task, model, rows, mode):
    plain = write(make_task(**mode), model, rows)
    with subscribe(Watcher()) as watcher:
        found = write(make_task(**mode), model, rows)
    write(make_task(**mode), model, rows)
    assert "trace" in plain[0] and not plain[0]["trace"]
    (batch,) = watcher.batches
    written: list = [[] for _ in rows]
    for _, places, kept, tokens in watcher.passes:
        for place, n, row in zip(places, kept, tokens):
            written[place] += row[:n]
    assert [number for number, *_ in watcher.passes] == list(range(1, max(h["passes"] for h in found) + 1))
    for theirs, told, tokens in zip(found, batch, written):
        assert theirs["tokens"].tolist() == told.tokens.tolist() == tokens
        assert (theirs["passes"], theirs["proposed"], theirs["kept"]) == (told.passes, told.proposed, told.kept)


def test_observers_of_beam_search(make_task, model, rows):
    with subscribe(Watcher()) as watcher:
        found = write(make_task(), model, rows, beam=3)
    (batch,) = watcher.batches
    assert [h.passes for h in batch] == [h["passes"] for h in found]
    assert [number for number, *_ in watcher.passes] == list(range(1, max(h.passes for h in batch)))
    assert [h.tokens.tolist() for h in batch] == [h["tokens"].tolist() for h in found]


def test_a_recorder_gives_traces_from_python(place):
    """Without a file, and in one call only."""
    hub = BangModel.from_pretrained("checkpoints", data_name_or_path="data-bin")
    subscription = subscribe(TraceRecorder())
    best = hub.generate("a b c", decoding="nar", max_len_b=9)[0]
    subscription.close()
    assert [step["pass"] for step in best["trace"]] == [1] and best["trace"][0]["kept"] == best["kept"]
    assert hub.generate("a b c", decoding="nar", max_len_b=9)[0]["trace"] == []
