"""Checkpoint files with damage, code or lies in them."""

import argparse
import ast
import random
import shutil
from pathlib import Path

import fairseq
import pytest
import torch
from fairseq import checkpoint_utils

from bang_plugin.checkpoints.integrity import EVALUATED, check_configuration, is_call
from bang_plugin.checkpoints.parameters import load_pretrained
from bang_plugin.errors import BangError
from bang_plugin.guards import table
from bang_plugin.models.bang import BangModel
from tests.conftest import build_reference_model, train_toy
from tests.test_checkpoints import Payload, release_file  # noqa: F401

from .test_kill import same

CORRUPTIONS = 200


@pytest.fixture(scope="module", autouse=True)
def guards():
    table.install()  # whichever test runs first


def flip_bits(data: bytearray, draw) -> None:
    for _ in range(draw.choice([1, 1, 1, 2, 8, 100])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def overwrite(data: bytearray, draw) -> None:
    start, length = draw.randrange(len(data)), draw.choice([1, 16, 512, 4096])
    data[start : start + length] = draw.choice([bytes, draw.randbytes])(min(length, len(data) - start))


def cut(data: bytearray, draw) -> None:
    del data[draw.randrange(len(data)) :]


def remove(data: bytearray, draw) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice([1, 64, 4096])]


def repeat(data: bytearray, draw) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + draw.choice([1, 64, 4096])]


def swap(data: bytearray, draw) -> None:
    block = draw.choice([1, 64, 4096])
    a, b = (draw.randrange(len(data) // block) * block for _ in range(2))
    data[a : a + block], data[b : b + block] = data[b : b + block], data[a : a + block]


def near_the_end(data: bytearray, draw) -> None:
    """In the directory of the archive."""
    data[-draw.randrange(1, 2000)] ^= 1 << draw.randrange(8)


def test_random_corruptions(toy_checkpoint, tmp_path):
    """Each is an error of one line that names the file, or has hit bytes that mean nothing."""
    with open(toy_checkpoint, "rb") as file:
        whole = file.read()
    original = checkpoint_utils.load_checkpoint_to_cpu(toy_checkpoint)
    path = str(tmp_path / "damaged.pt")
    draw, refused = random.Random(3), 0
    kinds = [flip_bits, flip_bits, overwrite, cut, remove, repeat, swap, near_the_end]
    for number in range(CORRUPTIONS):
        data = bytearray(whole)
        while data == whole:
            kinds[number % len(kinds)](data, draw)
        with open(path, "wb") as file:
            file.write(data)
        try:
            loaded = checkpoint_utils.load_checkpoint_to_cpu(path)
        except BangError as error:
            refused += 1
            assert str(error).startswith(path) and "\n" not in str(error)
        else:
            assert same(loaded, original), f"corruption {number} went unnoticed"
    assert refused > 0.9 * CORRUPTIONS


def test_one_flipped_bit_in_every_parameter(toy_checkpoint, tmp_path):
    """What torch.load by itself does not notice."""
    with open(toy_checkpoint, "rb") as file:
        data = bytearray(file.read())
    path = tmp_path / "flipped.pt"
    for name, value in torch.load(toy_checkpoint, weights_only=True)["model"].items():
        place = data.find(value.numpy().tobytes())
        assert place > 0
        data[place] ^= 1
        path.write_bytes(data)
        data[place] ^= 1
        assert not torch.equal(torch.load(path, weights_only=True)["model"][name], value)
        with pytest.raises(BangError, match="flipped.pt: damaged, the checksum of its part .*/data/"):
            checkpoint_utils.load_checkpoint_to_cpu(str(path))


def test_damage_in_a_pretrained_file(reference, release_file, tmp_path):  # noqa: F811
    """Release files have no checksums; those that this fairseq writes do, also when only parameters are taken."""
    model = build_reference_model(reference)
    load_pretrained(model, str(release_file))
    data = bytearray(release_file.read_bytes())
    release_file.write_bytes(data[: len(data) // 2])
    with pytest.raises(BangError, match="release.pt: not a whole checkpoint file"):
        load_pretrained(model, str(release_file))
    path = tmp_path / "ours.pt"
    torch.save({"model": model.state_dict()}, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(BangError, match="ours.pt: damaged"):
        load_pretrained(model, str(path))


@pytest.mark.parametrize("place", ["args", "model", "extra_state", "optimizer_history"])
@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_pickle_is_refused(reference, tmp_path, place, old_format):
    path, trace = tmp_path / "evil.pt", tmp_path / "ran"
    state = {"model": {}, "args": None, "extra_state": {}, "optimizer_history": [], place: [Payload(trace)]}
    torch.save(state, path, _use_new_zipfile_serialization=not old_format)
    for load in (
        checkpoint_utils.load_checkpoint_to_cpu,
        lambda p: load_pretrained(build_reference_model(reference), p),
    ):
        with pytest.raises(BangError, match="evil.pt: refused, because loading it could run code"):
            load(str(path))
    assert not trace.exists()


@pytest.mark.parametrize("name, arch", [("encoder_layers", "fconv"), ("adaptive_softmax_cutoff", "transformer")])
def test_code_in_an_option_is_refused(make_task, tmp_path, name, arch):
    """fairseq evaluates these options of a checkpoint's model as Python."""
    path, trace = tmp_path / "evil.pt", tmp_path / "ran"
    args = argparse.Namespace(arch=arch, task="translation", source_lang="a", target_lang="b", data="c")
    setattr(args, name, f"__import__('os').mkdir({str(trace)!r})")
    history = [{"optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 1, "criterion_name": "x"}]
    state = {"args": args, "model": {}, "optimizer_history": history, "extra_state": {"train_iterator": {}}}
    torch.save(state, path)
    with pytest.raises(BangError, match=rf"evil.pt: refused, .* option \S+\.{name} is the call"):
        checkpoint_utils.load_model_ensemble([str(path)], task=make_task())
    assert not trace.exists()


@pytest.mark.parametrize(
    "option, call",
    [
        ("f()", True),
        (" [(512, 3)] + [f(1)]", True),
        ("(lambda: 0)()", True),
        ("f'{f()}'", True),
        ("[(512, 3)] * 20 + [(1, 2)]", False),
        ("(0.9, 0.999)", False),
        ("/data (new)/train", False),
        ("data-bin.v1", False),
        ('{"beam": 4}', False),
        ("", False),
        ("(" * 10000, False),
    ],
)
def test_what_counts_as_a_call(option, call):
    assert is_call(option) == call


@pytest.mark.parametrize("model", [None, [], {"weight": "not a tensor"}, {"weight": [1.0]}])
def test_a_file_without_parameters(toy_checkpoint, tmp_path, model):
    state = torch.load(toy_checkpoint, weights_only=True)
    state["model"] = model
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(BangError, match="odd.pt: not a fairseq checkpoint"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "odd.pt"))


def test_names_may_look_like_calls(toy_data, tmp_path, monkeypatch):
    """A checkpoint names folders, projects and data, which nobody evaluates."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_data / "bin", tmp_path / "data(1)")
    (tmp_path / "bin").symlink_to("data(1)")
    checkpoint = train_toy(tmp_path, Path("run(1)"), 1)
    state = torch.load(checkpoint, weights_only=True)
    honest = {"data": "data(1)", "eval_bleu_args": "beam(4)", "eval_bleu_detok": "space()", "train_subset": "train(1)"}
    state["cfg"]["task"].update(honest)
    state["cfg"]["common"].update(wandb_project="run(2)", user_dir="plugin(3)", tensorboard_logdir="log(4)")
    torch.save(state, checkpoint)
    loaded = checkpoint_utils.load_checkpoint_to_cpu(checkpoint)["cfg"]
    assert loaded["checkpoint"]["save_dir"] == "run(1)" and loaded["common"]["wandb_project"] == "run(2)"
    hub = BangModel.from_pretrained("run(1)")
    assert hub.cfg.task.data == "data(1)" and hub.sample("a b", max_len_b=3) is not None


@pytest.mark.parametrize("name", sorted(EVALUATED))
@pytest.mark.parametrize("value", ["exit()", "${data}"])
def test_every_option_that_is_evaluated_is_watched(tmp_path, name, value):
    """A Namespace's references to other options are resolved only after the check."""
    args = argparse.Namespace(arch="x", task="translation", data="exit()", **{name: value})
    with pytest.raises(BangError, match=f"option args.{name} is"):
        check_configuration("evil.pt", {"args": args})


def test_what_fairseq_evaluates():
    """The list against fairseq's own source: everything whose name is handed to eval or one of its wrappers."""
    # variables, and what comes from a command line or from data
    others = {"args", "cfg", "common_eval", "getattr", "line", "modality_cfg", "override_args", "self", "strip", "x"}
    others |= {"uf", "int", "float", "str", "{}"}
    evaluators = {"eval", "exec", "eval_str_list", "eval_str_dict", "eval_bool"}
    found = set()
    for path in Path(fairseq.__path__[0]).parent.glob("fairseq*/**/*.py"):
        text = path.read_text(encoding="utf-8")
        if not any(name in text for name in evaluators):
            continue
        for call in ast.walk(ast.parse(text)):
            if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] not in evaluators:
                continue
            if ast.unparse(call.func).endswith(".eval"):  # a module's
                continue
            for part in (part for argument in call.args for part in ast.walk(argument)):
                name = getattr(part, "attr", None) or getattr(part, "id", None) or getattr(part, "value", None)
                if isinstance(name, str):
                    found.add(name)
    assert found - others == EVALUATED
