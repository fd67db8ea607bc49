"""Reading checkpoints: the release's format, foreign and damaged files."""

import argparse
import io
import os

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils

from bang_plugin.checkpoints.parameters import adapt_parameters, resize_positions
from bang_plugin.errors import BangError, find
from bang_plugin.models.bang import BangModel

from .command_line import fairseq, hypotheses
from .conftest import REFERENCE, build_reference_model, train_toy


@pytest.fixture
def release_file(reference, tmp_path):
    """A checkpoint as the release's fairseq 0.9 writes it: old zip-less format, ``args`` Namespace, two mask rows."""
    args = argparse.Namespace(
        **{k: v for k, v in reference.meta["args"].items()},
        arch="bang_ar_nar_mixed_base",
        task="translation_bang",
        criterion="ngram_language_loss_NAR_mixed",
        optimizer="adam",
        adam_betas="(0.9, 0.999)",
        lr=[0.0001],
        lr_scheduler="inverse_sqrt",
        source_lang="src",
        target_lang="tgt",
        data="somewhere",
        nar_ratio=0.0,
        left_pad_source="True",
        left_pad_target="False",
    )
    args.load_from_pretrained_model = "/not/there/any/more.pt"
    state = {k: v.clone() for k, v in reference.state.items()}
    mask = state["decoder.ngram_input_embed.weight"]
    state["decoder.ngram_input_embed.weight"] = torch.cat([torch.full_like(mask, 9.0), mask])
    history = {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 7, "criterion_name": "x"}
    checkpoint = {
        "args": args,
        "model": state,
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1}, "val_loss": 1.0},
        "last_optimizer_state": {},
    }
    path = tmp_path / "release.pt"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def release_data(reference, tmp_path):
    """The reference's sources as text, binarised with the release's vocabulary file."""
    pad, eos = reference.meta["pad"], reference.meta["eos"]
    symbols = reference.dictionary.symbols
    for side, name in (("src_tokens", "src"), ("target", "tgt")):
        rows = reference.io[side].tolist()
        lines = [" ".join(symbols[t] for t in row if t not in (pad, eos)) + "\n" for row in rows]
        (tmp_path / f"test.{name}").write_text("".join(lines))
    vocabulary = REFERENCE / "vocab.txt"
    options = ["--source-lang", "src", "--target-lang", "tgt", "--testpref", tmp_path / "test"]
    options += ["--srcdict", vocabulary, "--tgtdict", vocabulary, "--destdir", tmp_path / "bin"]
    fairseq("preprocess", "--task", "bang", *options)
    return tmp_path / "bin"


@pytest.mark.parametrize(
    "decoding",
    [
        ["--task", "bang", "--decoding", "ar"],
        ["--task", "translation_bang"],
        ["--task", "bang", "--decoding", "nar"],
        ["--task", "translation_bang_nar"],
    ],
)
def test_generating_from_the_release_file(reference, release_file, release_data, decoding):
    meta, io = reference.meta, reference.io
    options = ["--beam", meta["beam"], "--lenpen", meta["lenpen"], "--max-len-b", meta["beam_max_len_b"], "--cpu"]
    nar = "nar" in decoding[-1]
    if nar:
        options += ["--min-len", 0]
    output = fairseq("generate", release_data, "--path", release_file, *decoding, *options)
    found = hypotheses(output)
    symbols = reference.dictionary.symbols
    best = io["nar_tokens"] if nar else io["beam_tokens"].view(len(found), meta["beam"], -1)[:, 0]
    for i, tokens in enumerate(best.tolist()):
        end = tokens.index(meta["eos"]) if meta["eos"] in tokens else len(tokens)
        assert found[i][1].split() == [symbols[t] for t in tokens[:end]]


def test_fine_tuning_from_the_release_file(release_file, release_data, tmp_path):
    base = [release_data, "--task", "translation_bang", "--arch", "bang_ar_nar_mixed_base", "--train-subset", "test"]
    sizes = ["--encoder-layers", 2, "--decoder-layers", 2, "--encoder-embed-dim", 32, "--decoder-embed-dim", 32]
    sizes += ["--encoder-ffn-embed-dim", 64, "--decoder-ffn-embed-dim", 64]
    sizes += ["--encoder-attention-heads", 4, "--decoder-attention-heads", 4]
    loss = ["--criterion", "ngram_language_loss_NAR_mixed", "--nar-ratio", 1.0, "--ngram", 1, "--label-smoothing", 0.1]
    longer = ["--max-source-positions", 100, "--max-target-positions", 10, "--load-from-pretrained-model", release_file]
    steps = ["--optimizer", "adam", "--lr", 1e-9, "--max-update", 1, "--max-tokens", 100, "--num-workers", 0, "--cpu"]
    steps += ["--required-batch-size-multiple", 1]
    save = ["--save-dir", tmp_path / "tuned", "--disable-validation"]
    fairseq("train", *base, *sizes, *loss, *longer, *steps, *save)
    tuned = torch.load(tmp_path / "tuned" / "checkpoint_last.pt", weights_only=True)["model"]
    start = torch.load(release_file, weights_only=False)["model"]
    source, target = tuned["encoder.embed_positions.weight"], tuned["decoder.embed_positions.weight"]
    released = start["encoder.embed_positions.weight"]
    assert source.shape == (101, 32) and target.shape == (12, 32)
    torch.testing.assert_close(source[:82], torch.cat([released, released.roll(-1, 1)]), atol=1e-6, rtol=0)
    torch.testing.assert_close(target, start["decoder.embed_positions.weight"][:12], atol=1e-6, rtol=0)
    torch.testing.assert_close(
        tuned["decoder.ngram_input_embed.weight"], start["decoder.ngram_input_embed.weight"][1:], atol=1e-6, rtol=0
    )


def test_load_sep_copies_the_separator(reference, release_file, make_task):
    model = build_reference_model(reference, load_from_pretrained_model=None)
    from bang_plugin.checkpoints.parameters import load_pretrained

    load_pretrained(model, str(release_file), load_sep=True)
    weight = model.encoder.embed_tokens.weight
    d = reference.dictionary
    assert torch.equal(weight[d.index("[X_SEP]")], weight[d.index("[SEP]")])
    assert not torch.equal(reference.state["encoder.embed_tokens.weight"][d.index("[X_SEP]")], weight[d.eos()])


def test_nothing_is_missing_or_left_over(reference, model):
    state = {k: v.clone() for k, v in reference.state.items()}
    adapt_parameters(state, model)
    assert state.keys() == model.state_dict().keys()


@pytest.mark.parametrize("size", [3, 5, 10, 12])
def test_resize_positions(size):
    table = torch.arange(15.0).view(5, 3)
    rotated = [table, table[:, [1, 2, 0]], table[:, [2, 0, 1]]]
    assert torch.equal(resize_positions(table, size), torch.cat(rotated)[:size])


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_refused(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "ran"
    torch.save({"model": {}, "args": None, "extra_state": Payload(trace)}, path)
    with pytest.raises(BangError, match="refused, because loading it could run code: it holds posix.mkdir"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0, 10, 1000, -1000, -1])
def test_truncated_file(toy_checkpoint, tmp_path, keep):
    path = tmp_path / "cut.pt"
    path.write_bytes(open(toy_checkpoint, "rb").read()[:keep])
    with pytest.raises(BangError, match=f"{path}: not a whole checkpoint file"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(BangError, match="No such file"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "none.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(BangError, match="list.pt"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "list.pt"))
    torch.save({"args": None, "weights": {}}, tmp_path / "other.pt")
    with pytest.raises(BangError, match="other.pt: not a fairseq checkpoint"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "other.pt"))


def test_another_architecture(toy_data, toy_checkpoint, tmp_path):
    with pytest.raises(BangError, match="another architecture: .* missing"):
        train_toy(toy_data, tmp_path, 1, "--decoder-layers", 2, "--load-from-pretrained-model", toy_checkpoint)
    base = [toy_data / "bin", "--task", "bang", "--arch", "transformer_iwslt_de_en", "--save-dir", tmp_path]
    sizes = ["--encoder-embed-dim", 16, "--decoder-embed-dim", 16, "--share-all-embeddings", "--encoder-layers", 1]
    rest = ["--optimizer", "adam", "--lr", 0.001, "--max-update", 1, "--max-tokens", 500, "--cpu", "--num-workers", 0]
    fairseq("train", *base, *sizes, *rest, "--disable-validation", "--decoder-layers", 1)
    with pytest.raises(BangError, match="--decoding nar needs a BANG model, not TransformerModel"):
        path = ["--path", tmp_path / "checkpoint_last.pt", "--decoding", "nar", "--cpu"]
        fairseq("generate", toy_data / "bin", "--task", "bang", *path)


def test_another_dictionary(toy_data, toy_checkpoint, tmp_path):
    """Same size, other order: every parameter fits, every token would be wrong."""
    lines = (toy_data / "bin" / "dict.src.txt").read_text().splitlines()
    for name in ("test.src", "test.tgt"):
        (tmp_path / name).write_text((toy_data / name).read_text())
    for order, message in ((lines[::-1], "trained with another dictionary"), (lines[:-8], "types")):
        (tmp_path / "dict.txt").write_text("\n".join(order) + "\n")
        pair = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
        folder = tmp_path / f"bin{len(order)}"
        dictionary = ["--srcdict", tmp_path / "dict.txt", "--destdir", folder]
        fairseq("preprocess", "--task", "bang", *pair, *dictionary, "--testpref", tmp_path / "test")
        with pytest.raises(BangError, match=message):
            fairseq("generate", folder, "--task", "bang", "--path", toy_checkpoint, "--cpu")


def test_resuming_with_another_size_is_one_line(toy_data, toy_checkpoint, tmp_path):
    """fairseq wraps the error; the excepthook still finds ours."""
    from bang_plugin.guards.last_line import explain

    with pytest.raises(Exception) as caught:
        train_toy(toy_data, tmp_path, 200, "--restore-file", toy_checkpoint, "--decoder-layers", 2)
    assert "another architecture" in explain(caught.value)


def test_a_checkpoint_that_is_not_there(toy_data, tmp_path):
    with pytest.raises(BangError, match="none.pt: no such checkpoint"):
        fairseq("generate", toy_data / "bin", "--task", "bang", "--path", tmp_path / "none.pt", "--cpu")


def test_only_what_fairseq_wraps_is_unwrapped():
    def raised(outer):
        try:
            try:
                raise BangError("inner")
            except BangError:
                raise outer  # noqa: B904
        except Exception as error:
            return error

    assert str(find(raised(Exception("fairseq says")))) == "inner"
    assert find(raised(KeyError("a fault of its own"))) is None
    assert find(KeyError("nothing behind it")) is None


@pytest.fixture(params=["cfg", "args", None])
def published(request, toy_checkpoint, tmp_path):
    """The toy's parameters with its configuration, the same as fairseq 0.9 keeps it, or alone; and what is kept."""
    whole, kept = torch.load(toy_checkpoint, weights_only=True), {}
    if request.param == "cfg":
        kept["cfg"] = whole["cfg"]
    elif request.param == "args":
        cfg = whole["cfg"]
        parts = {name: value for part in ("common", "task", "model") for name, value in cfg[part].items()}
        kept["args"] = argparse.Namespace(**parts, arch="bang_tiny", task="bang", criterion="nstream_loss")
        kept["args"].optimizer, kept["args"].lr_scheduler, kept["args"].lr = "adam", "fixed", [0.001]
    path = tmp_path / "published.pt"
    torch.save({"model": whole["model"], **kept}, path)
    return str(path), request.param


def test_generating_from_a_published_file(published, toy_data, toy_checkpoint):
    path, kept = published
    options = [toy_data / "bin", "--task", "bang", "--decoding", "nar", "--max-len-b", 10, "--cpu", "--path"]
    if kept is None:
        with pytest.raises(BangError, match="published.pt: holds parameters alone, .*--load-from-pretrained-model"):
            fairseq("generate", *options, path)
        with pytest.raises(BangError, match="published.pt: it holds no configuration"):
            BangModel.from_pretrained(os.path.dirname(path), "published.pt", toy_data / "bin")
        return
    expected = hypotheses(fairseq("generate", *options, toy_checkpoint))
    assert hypotheses(fairseq("generate", *options, path)) == expected
    hub = BangModel.from_pretrained(os.path.dirname(path), "published.pt", toy_data / "bin")
    assert len(hub.sample(["a b"], decoding="nar", max_len_b=10)) == 1


@pytest.mark.parametrize("option", ["--load-from-pretrained-model", "--finetune-from-model", "--restore-file"])
def test_training_from_a_published_file(published, toy_data, tmp_path, option):
    path, _ = published
    tuned = torch.load(train_toy(toy_data, tmp_path / "tuned", 1, "--lr", 1e-9, option, path), weights_only=True)
    start = torch.load(path, weights_only=True)
    for name, value in start["model"].items():
        torch.testing.assert_close(tuned["model"][name], value, atol=1e-6, rtol=0)
    assert tuned["optimizer_history"][-1]["num_updates"] == 1


def saved_array(values):
    """``values`` as a checkpoint holds them, read again."""
    file = io.BytesIO()
    torch.save({"values": values}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)["values"]


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "i8", "f2", "f4", "f8"])
def test_arrays_of_numbers_load(dtype):
    for values in (np.arange(6).reshape(2, 3).astype(dtype), np.ones(2, dtype).T, np.array(1, dtype)[()]):
        found = saved_array(values)
        assert found.dtype == values.dtype and np.array_equal(found, values)


@pytest.mark.parametrize("values", [np.array([{}]), np.zeros(2, [("a", "O")]), np.array(["text"])])
def test_arrays_of_anything_else_do_not(values, tmp_path):
    """numpy would take bytes in such files for addresses of objects."""
    torch.save({"model": {}, "extra_state": values}, tmp_path / "odd.pt")
    with pytest.raises(BangError, match="odd.pt: refused, because loading it could run code: it holds numpy.dtypes"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "odd.pt"))
