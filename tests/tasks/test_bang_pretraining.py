"""Pretraining by fairseq-train: spans that do not leak, resuming, folders in turn, and fine-tuning from it."""

import re

import numpy as np
import pytest
import torch

from bang_plugin.criterions.nstream_loss import NStreamLoss
from bang_plugin.data.span_masking import SpanMaskingDataset
from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.tasks.bang_pretraining import BangPretrainingConfig, BangPretrainingTask
from tests.command_line import fairseq
from tests.conftest import SMALL, train_toy

LETTERS = list("abcdefgh") + list("ABCDEFGH")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Two folders of binarised letters under one dictionary, which also holds the toy task's symbols."""
    folder = tmp_path_factory.mktemp("text")
    random = np.random.default_rng(0)
    for name in ("one", "two", "valid"):
        lines = [" ".join(random.choice(LETTERS, 30)) for _ in range(60)]
        (folder / name).write_text("\n".join(lines) + "\n")
    base = ["--only-source", "--task", "bang_pretraining"]
    fairseq(
        "preprocess", *base, "--trainpref", folder / "one", "--validpref", folder / "valid", "--destdir", folder / "a"
    )
    again = ["--srcdict", folder / "a" / "dict.txt", "--trainpref", folder / "two", "--destdir", folder / "b"]
    fairseq("preprocess", *base, *again)
    return folder


def pretrain(text, save_dir, updates, *options, data=None) -> dict:
    """Pretrain by fairseq-train; returns the last checkpoint."""
    data = data or text / "a"
    base = [data, "--task", "bang_pretraining", "--tokens-per-sample", 40, "--mask-block", 20, "--ngram", 3]
    room = ["--max-source-positions", 40, "--max-target-positions", 40, "--max-tokens", 200, "--save-dir", save_dir]
    fairseq("train", *base, *SMALL, *room, "--max-update", updates, *options)
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=True)


def same(a, b) -> bool:
    return a["model"].keys() == b["model"].keys() and all(torch.equal(a["model"][k], b["model"][k]) for k in a["model"])


def test_resumed_within_an_epoch_equals_uninterrupted(text, tmp_path):
    options = ["--dropout", 0.1, "--disable-validation"]
    straight = pretrain(text, tmp_path / "straight", 14, *options)
    assert straight["extra_state"]["train_iterator"]["epoch"] == 2  # about ten updates an epoch
    pretrain(text, tmp_path / "resumed", 4, *options)
    assert not same(straight, pretrain(text, tmp_path / "resumed", 5, *options))
    assert same(straight, pretrain(text, tmp_path / "resumed", 14, *options))


def test_workers_change_nothing(text, tmp_path):
    options = ["--disable-validation"]
    alone = pretrain(text, tmp_path / "0", 12, *options)
    assert same(alone, pretrain(text, tmp_path / "2", 12, *options, "--num-workers", 2))


def test_folders_take_turns(text, tmp_path, caplog):
    caplog.set_level("INFO")
    pretrain(text, tmp_path, 25, "--disable-validation", data=f"{text / 'a'}:{text / 'b'}")
    loaded = re.findall(r"loaded 60 examples from: \S*/([ab])/train", caplog.text)
    assert loaded[:3] == ["a", "b", "a"]


def test_statistics(text, tmp_path, caplog):
    caplog.set_level("INFO")
    pretrain(text, tmp_path, 3, "--log-interval", 1, "--log-format", "json")
    for name in ("ar_nll", "ar_accuracy", "stream3_nll", "stream3_accuracy", "all_nll", "all_accuracy", "wps"):
        assert f'"{name}": "' in caplog.text
    assert '"valid_stream3_accuracy": "' in caplog.text


def task_and_model(text, **model):
    cfg = BangPretrainingConfig(data=str(text / "a"), tokens_per_sample=40, mask_block=20, mask_ratio=0.2, seed=1)
    cfg.dataset_impl = None
    task = BangPretrainingTask.setup_task(cfg)
    sizes = {
        f"{side}_{k}": v
        for side in ("encoder", "decoder")
        for k, v in {"embed_dim": 16, "ffn_embed_dim": 32, "layers": 2, "attention_heads": 2}.items()
    }
    torch.manual_seed(0)
    cfg = BangModelConfig(max_source_positions=40, max_target_positions=40, **sizes, **model)
    model = BangModel.build_model(cfg, task)
    return task, model.eval()


def test_spans_leak_only_as_prefix(text):
    """Change one decoder input: exactly the chains anchored at it or behind it may change."""
    task, model = task_and_model(text)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = dataset.collater([dataset[0]])
    inputs, remaining = dict(batch["net_input"]), batch["remaining"]
    positions = inputs.pop("positions")
    spans = remaining.eq(1).flip(1).cumsum(1).flip(1)[0]  # counts down, one number per span
    assert spans.unique().numel() == 2

    def predictions(prev):
        streams = model.decoder.teacher_forcing(prev, remaining.clamp(max=3), positions=positions)
        rows = {**inputs, "prev_output_tokens": prev}
        return streams, model(**rows, streams=streams)[0][0]

    with torch.no_grad():
        streams, before = predictions(inputs["prev_output_tokens"])
        # chains end where their span ends
        assert (spans[streams.chain[0]] == spans[streams.target_slot[0]]).all()
        for slot in range(remaining.size(1)):
            changed = inputs["prev_output_tokens"].clone()
            changed[0, slot] = changed[0, slot] % 10 + 4
            difference = (predictions(changed)[1] - before).abs().amax(-1)
            seen = streams.chain[0] >= slot
            assert (difference[seen] > 1e-6).all() and (difference[~seen] < 1e-6).all()


def test_fine_tuning_goes_on_from_it(text, toy_data, tmp_path):
    checkpoint = pretrain(text, tmp_path / "pre", 3, "--disable-validation")
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--srcdict", text / "a" / "dict.txt", "--joined-dictionary"]
    fairseq("preprocess", "--task", "bang", *pair, "--trainpref", toy_data / "train", "--destdir", toy_data / "tuned")
    options = [toy_data / "tuned", "--task", "bang", "--save-dir", tmp_path / "tuned", "--max-update", 1, *SMALL]
    start = ["--load-from-pretrained-model", tmp_path / "pre" / "checkpoint_last.pt", "--lr", 1e-9]
    fairseq("train", *options, *start, "--disable-validation", "--ngram", 3)
    tuned = torch.load(tmp_path / "tuned" / "checkpoint_last.pt", weights_only=True)["model"]
    for name, value in checkpoint["model"].items():
        if "embed_positions" not in name:
            torch.testing.assert_close(tuned[name], value, atol=1e-6, rtol=0)
    with pytest.raises(BangError, match="last.pt: trained with another dictionary"):
        train_toy(
            toy_data, tmp_path / "other", 1, "--load-from-pretrained-model", tmp_path / "pre" / "checkpoint_last.pt"
        )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"data": "nowhere"}, "nowhere/dict.txt: No such file"),
        (
            {"tokens_per_sample": 50, "max_source_positions": 40},
            "--tokens-per-sample 50 exceeds --max-source-positions 40",
        ),
        ({"mask_block": 0}, "--mask-block must be at least 1"),
    ],
)
def test_bad_options(text, options, message):
    cfg = BangPretrainingConfig(**{"data": str(text / "a"), "seed": 1, **options})
    with pytest.raises(BangError, match=message):
        BangPretrainingTask.setup_task(cfg)


def test_missing_split(text):
    task, _ = task_and_model(text)
    with pytest.raises(BangError, match="test: no binarised text"):
        task.load_dataset("test")


def test_dictionary_without_a_mask(tmp_path):
    (tmp_path / "dict.txt").write_text("a 1\nb 1\n")
    with pytest.raises(BangError, match="neither .MASK. nor <mask>"):
        BangPretrainingTask.setup_task(BangPretrainingConfig(data=str(tmp_path)))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--criterion", "cross_entropy"], "--criterion cross_entropy: task bang_pretraining trains with nstream_loss"),
    ],
)
def test_only_its_own_loss(text, tmp_path, options, message):
    with pytest.raises(BangError, match=message):
        pretrain(text, tmp_path, 1, *options)


def test_its_loss_under_the_releases_name(text, tmp_path):
    pretrain(text, tmp_path, 1, "--disable-validation", "--criterion", "ngram_language_loss_NAR_mixed")


@pytest.mark.parametrize("mode", ["none", "complete", "complete_doc"])
def test_lines_longer_than_a_sample(tmp_path, mode):
    """Are cut into parts of nearly the same length; no token is lost but, in complete_doc, what ends documents."""
    lengths = [5, 100, 0, 39, 40, 7, 0, 70_000, 3]  # in letters; an end symbol follows
    draw = np.random.default_rng(0)
    lines = [draw.choice(LETTERS, length).tolist() for length in lengths]
    (tmp_path / "train").write_text("".join(" ".join(line) + "\n" for line in lines))
    base = ["--only-source", "--task", "bang_pretraining", "--trainpref", tmp_path / "train"]
    fairseq("preprocess", *base, "--destdir", tmp_path / "a")
    cfg = BangPretrainingConfig(data=str(tmp_path / "a"), tokens_per_sample=40, sample_break_mode=mode, seed=1)
    cfg.dataset_impl = None
    task = BangPretrainingTask.setup_task(cfg)
    task.load_dataset("train")
    blocks = task.dataset("train").dataset
    samples = [blocks[index].tolist() for index in range(len(blocks))]
    assert [len(sample) for sample in samples] == blocks.sizes.tolist() and max(map(len, samples)) <= 40
    eos = task.dictionary.eos()
    written = [task.dictionary.encode_line(" ".join(line), add_if_not_exist=False).tolist() for line in lines]
    expected = [token for line in written for token in line if mode != "complete_doc" or line != [eos]]
    assert sum(samples, []) == expected
    if mode != "none":
        assert blocks.cut == 3
    if mode == "complete":  # 6 | 101 in three | an empty line, 40 do not fit | 40 | 41 in two | ...
        assert blocks.sizes.tolist()[:7] == [6, 33, 34, 34, 1, 40, 20]


def test_text_of_empty_lines(text, tmp_path):
    (tmp_path / "train").write_text("\n\n")
    known = ["--srcdict", text / "a" / "dict.txt", "--trainpref", tmp_path / "train", "--destdir", tmp_path / "a"]
    fairseq("preprocess", "--only-source", "--task", "bang_pretraining", *known)
    with pytest.raises(BangError, match="train: no text: every line is empty"):
        pretrain(text, tmp_path / "save", 1, "--disable-validation", data=tmp_path / "a")


def test_long_lines_train(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "train").write_text("".join(" ".join(draw.choice(LETTERS, 100)) + "\n" for _ in range(9)))
    files = ["--trainpref", tmp_path / "train", "--destdir", tmp_path / "a"]
    fairseq("preprocess", "--only-source", "--task", "bang_pretraining", *files)
    pretrain(None, tmp_path / "save", 2, "--disable-validation", "--sample-break-mode", "complete", data=tmp_path / "a")


def test_blocks_break_where_asked(text):
    """Lines of 30 letters and an end symbol: blocks of 40 ignore them, or hold one each."""
    lengths = {}
    for mode in ("none", "complete"):
        cfg = BangPretrainingConfig(data=str(text / "a"), tokens_per_sample=40, sample_break_mode=mode, seed=1)
        cfg.dataset_impl = None
        task = BangPretrainingTask.setup_task(cfg)
        task.load_dataset("train")
        lengths[mode] = set(task.dataset("train").sizes.tolist())
    assert max(lengths["none"]) == 40 and lengths["complete"] == {31}


@pytest.mark.parametrize("mask, random", [(1.0, 0.0), (0.0, 0.0)])
def test_what_stands_in_place_of_masked_tokens(text, tmp_path, monkeypatch, mask, random):
    """The command line's probabilities reach the encoder's input: all [MASK], or nothing changed."""
    seen = []
    collater = SpanMaskingDataset.collater

    def record(self, samples):
        batch = collater(self, samples)
        seen.append(batch["net_input"]["src_tokens"].eq(self.masking.mask).any().item())
        return batch

    monkeypatch.setattr(SpanMaskingDataset, "collater", record)
    chances = ["--mask-token-prob", mask, "--random-token-prob", random]
    pretrain(text, tmp_path, 2, "--disable-validation", *chances)
    assert seen and all(found == (mask == 1.0) for found in seen)


def spans_of(sample) -> list[tuple[int, int, int]]:
    """(sentence, first column, column behind the last) of every masked span."""
    found = []
    for row, remaining in enumerate(sample["remaining"].tolist()):
        column = 0
        while column < len(remaining) and remaining[column]:
            found.append((row, column, column + remaining[column]))
            column += remaining[column]
    return found


@pytest.mark.parametrize("nar_prefix", ["empty", "start"])
def test_nar_writes_every_span_from_its_beginning(text, nar_prefix):
    task, model = task_and_model(text, nar_prefix=nar_prefix)
    task.load_dataset("train")
    sample = task.dataset("train").collater([task.dataset("train")[i] for i in range(4)])
    spans = spans_of(sample)
    assert len(spans) > 4
    criterion, model = NStreamLoss(task, nar_ratio=1.0), model.eval()
    loss, size, _ = criterion(model, sample)
    assert size == sum(end - first for _, first, end in spans)

    def one_by_one(sample) -> list[float]:
        """The loss of each span by itself, as a sentence that stands at its place in the text."""
        found = []
        for row, *columns in spans:
            inputs = {name: value[row : row + 1] for name, value in sample["net_input"].items()}
            span = slice(*columns)
            inputs |= {name: inputs[name][:, span] for name in ("prev_output_tokens", "positions")}
            target = sample["target"][row : row + 1, span]
            found.append(criterion(model, {**sample, "net_input": inputs, "target": target, "remaining": None})[0])
        return [one.item() for one in found]

    alone = one_by_one(sample)
    assert loss.item() == pytest.approx(sum(alone), rel=1e-5)
    # of the text before it the second span of the first sentence knows at most the last token
    (row, first, end), changed = spans[1], sample["net_input"]["prev_output_tokens"].clone()
    changed[row, first + 1 : end] = changed[row, first + 1 : end].roll(1)
    sample["net_input"]["prev_output_tokens"] = changed
    assert one_by_one(sample) == pytest.approx(alone, rel=1e-5)
    changed[row, first] = task.dictionary.index("a") + (changed[row, first] == task.dictionary.index("a")).int()
    again = one_by_one(sample)
    assert (again[1] == pytest.approx(alone[1], rel=1e-5)) == (nar_prefix == "empty")
    assert again[2:] == pytest.approx(alone[2:], rel=1e-5)


def test_pretraining_with_nar(text, tmp_path):
    options = ["--nar-ratio", 0.5, "--nar-prefix", "start", "--ar-updates", 2]
    saved = pretrain(text, tmp_path / "saved", 6, *options)
    assert saved["cfg"]["model"]["nar_prefix"] == "start"
    assert same(saved, pretrain(text, tmp_path / "again", 6, *options))
    assert not same(saved, pretrain(text, tmp_path / "empty", 6, "--nar-ratio", 0.5, "--ar-updates", 2))
