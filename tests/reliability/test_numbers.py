"""NaN, infinity and overflow in training; batches without tokens; the longest and the shortest sentences."""

import itertools

import pytest
import torch
from fairseq.data import Dictionary, data_utils

from bang_plugin.criterions.nstream_loss import NStreamLoss
from bang_plugin.errors import BangError
from tests.command_line import fairseq, hypotheses
from tests.conftest import SMALL, build_reference_model, train_toy
from tests.test_commands import MODES


@pytest.fixture
def spoilt(toy_checkpoint, tmp_path):
    """Make a checkpoint to resume from whose embedding of one word holds a number that is none."""

    def spoil(value):
        state = torch.load(toy_checkpoint, weights_only=True)
        state["model"]["encoder.embed_tokens.weight"][7] = value
        torch.save(state, tmp_path / "checkpoint_last.pt")
        return tmp_path

    return spoil


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_ends_training_with_one_line(toy_data, spoilt, value):
    folder = spoilt(value)
    before = (folder / "checkpoint_last.pt").read_bytes()
    with pytest.raises(BangError, match="update 151: gradients are Nan/Inf; the checkpoints saved before") as caught:
        train_toy(toy_data, folder, 152)
    assert "\n" not in str(caught.value)
    assert (folder / "checkpoint_last.pt").read_bytes() == before and (folder / "crash.pt").exists()


def test_nan_under_amp(toy_data, spoilt):
    with pytest.raises(BangError, match="update 1: gradients are Nan/Inf"):
        train_toy(toy_data, spoilt(float("nan")), 2, "--amp", "--reset-optimizer")


def test_fp16_overflow_skips_the_update_and_lowers_the_scale(toy_data, tmp_path, caplog):
    path = train_toy(toy_data, tmp_path, 3, "--memory-efficient-fp16", "--fp16-init-scale", 2**20)
    assert "gradient overflow detected, ignoring gradient, setting loss scale to: 524288" in caplog.text
    state = torch.load(path, weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == 3
    assert all(value.isfinite().all() for value in state["model"].values())
    assert state["last_optimizer_state"]["loss_scale"] < 2**20


def test_fp16_overflow_without_end(toy_data, tmp_path):
    scale = ["--fp16-init-scale", 2**20, "--min-loss-scale", 2**19]
    with pytest.raises(BangError, match="update 1: Minimum loss scale reached"):
        train_toy(toy_data, tmp_path, 3, "--memory-efficient-fp16", *scale)


def make_batch(reference, sources, targets):
    """A batch as fairseq's task would make it, from words as ids; no end symbols are added."""
    pad, eos = reference.dictionary.pad(), reference.dictionary.eos()
    source, target = ([torch.tensor(row, dtype=torch.long) for row in rows] for rows in (sources, targets))
    previous = [torch.cat([t.new_tensor([eos]), t[:-1]]) if len(t) else t for t in target]
    return {
        "id": torch.arange(len(source)),
        "nsentences": len(source),
        "ntokens": sum(map(len, target)),
        "net_input": {
            "src_tokens": data_utils.collate_tokens(source, pad, left_pad=True),
            "src_lengths": torch.tensor([len(s) for s in source]),
            "prev_output_tokens": data_utils.collate_tokens(previous, pad),
        },
        "target": data_utils.collate_tokens(target, pad),
    }


@pytest.fixture
def step(reference, make_task):
    """Loss, its size and the largest gradient of a batch, with 4 streams or under NAR."""
    model = build_reference_model(reference, dropout=0, attention_dropout=0, activation_dropout=0).train()

    def run(sources, targets, nar_ratio):
        model.zero_grad()
        criterion = NStreamLoss(make_task(), nar_ratio=nar_ratio, ngram=4)
        loss, size, _ = criterion(model, make_batch(reference, sources, targets))
        loss.backward()
        gradients = [p.grad.abs().max() for p in model.parameters() if p.grad is not None]
        return loss.item(), float(size), max(gradients, default=torch.tensor(0.0)).item()

    return run


both_modes = pytest.mark.parametrize("nar_ratio", [0.0, 1.0])


@both_modes
def test_only_padding_trains_nothing(step, reference, nar_ratio):
    pad = reference.dictionary.pad()
    for targets in ([[pad, pad], [pad]], [[], []]):
        assert step([[pad, pad, pad], [pad]], targets, nar_ratio) == (0, 0, 0)


@both_modes
def test_empty_rows_change_nothing_for_the_others(step, reference, nar_ratio):
    """A source of padding, a target without even an end symbol, beside an honest pair."""
    pad, eos = reference.dictionary.pad(), reference.dictionary.eos()
    sources, targets = [[5, 6, eos]], [[7, 8, eos]]
    alone = step(sources, targets, nar_ratio)
    assert step([*sources, [pad, pad]], [*targets, []], nar_ratio) == pytest.approx(alone, rel=1e-4)
    assert alone[0] > 0 and alone[2] > 0


@both_modes
def test_target_of_the_end_symbol_alone(step, reference, nar_ratio):
    eos = reference.dictionary.eos()
    loss, size, gradient = step([[5, eos]], [[eos]], nar_ratio)
    assert size == 1 and 0 < loss < 20 and 0 < gradient < 1000


@both_modes
@pytest.mark.parametrize("source, target", itertools.product([1, 40], [1, 40]))
def test_shortest_and_longest_sentences(step, reference, nar_ratio, source, target):
    """The reference model has 40 positions on either side."""
    eos = reference.dictionary.eos()
    loss, size, gradient = step([[5] * (source - 1) + [eos]], [[7] * (target - 1) + [eos]], nar_ratio)
    assert size == (target if nar_ratio or target == 1 else 4 * target - 6)
    assert 0 < loss < 20 * size and 0 < gradient < 10000


@both_modes
@pytest.mark.parametrize("source, target, side", [(41, 3, "source"), (3, 41, "target")])
def test_beyond_the_position_table(step, nar_ratio, source, target, side):
    with pytest.raises(BangError, match=f"41 tokens of a {side} are more than --max-{side}-positions 40"):
        step([[5] * source], [[7] * target], nar_ratio)


@pytest.fixture(scope="module")
def odd_data(tmp_path_factory):
    """One word in the dictionary; pairs with empty sides, sides of the longest length, and longer ones."""
    folder = tmp_path_factory.mktemp("odd")
    lengths = [(0, 0), (0, 3), (3, 0), (1, 1), (19, 19), (19, 1), (2, 30), (30, 2)]
    for side, name in enumerate(("src", "tgt")):
        (folder / f"train.{name}").write_text("".join(" ".join("a" * pair[side]) + "\n" for pair in lengths * 4))
    dictionary = Dictionary()
    dictionary.add_symbol("a")
    dictionary.save(str(folder / "dict"))
    options = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary", "--srcdict", folder / "dict"]
    fairseq("preprocess", "--task", "bang", *options, "--trainpref", folder / "train", "--destdir", folder / "bin")
    return folder / "bin"


@pytest.fixture(scope="module")
def odd_checkpoint(odd_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd_model")
    base = [odd_data, "--task", "bang", "--save-dir", folder, "--max-update", 4, "--disable-validation"]
    fairseq("train", *base, *SMALL, "--nar-ratio", 0.5, "--ngram", 4, "--batch-size", 8)
    return folder / "checkpoint_last.pt"


def test_training_skips_what_is_too_long(odd_checkpoint):
    state = torch.load(odd_checkpoint, weights_only=True)
    assert all(value.isfinite().all() for value in state["model"].values())
    # 6 of 8 pairs are short enough: 24 in all
    assert state["extra_state"]["train_iterator"]["epoch"] == 2


@pytest.mark.parametrize("decoding", MODES)
def test_one_word_vocabulary_and_lengths(odd_data, odd_checkpoint, decoding):
    """Every source is answered, none beyond the position table whatever length is asked for."""
    lines = "".join(" ".join("a" * length) + "\n" for length in (0, 1, 19))
    options = ["--decoding", decoding, "--max-len-b", 1000, "--min-len", 19, "--cpu", "--buffer-size", 3]
    output = fairseq("interactive", odd_data, "--task", "bang", "--path", odd_checkpoint, *options, stdin=lines)
    found = hypotheses(output)
    assert list(found) == [0, 1, 2]
    for _, text in found.values():
        assert len(text.split()) == 19  # 20 positions, the last of which is the end symbol's
