"""``bang export --format safetensors``: the same model, without pickle."""

import json
import pickle
import shutil
import sys

import pytest
import torch

from bang_plugin.__main__ import main as bang
from bang_plugin.errors import BangError
from bang_plugin.hub import from_pretrained
from tests.command_line import fairseq, hypotheses
from tests.conftest import SMALL


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "tensors"
    bang(["export", str(trained), str(out), "--format", "safetensors"])
    return out


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def test_loads_again_without_pickle(exported, trained, monkeypatch, caplog):
    before = from_pretrained(str(trained))

    def refuse(*arguments, **options):
        raise AssertionError("unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    after = from_pretrained(str(exported))
    for name in ("nar", "speculative"):
        options = {"decoding": name, "max_len_b": 15}
        assert after.sample(["abc", "hgf"], **options) == before.sample(["abc", "hgf"], **options)
    assert after.bpe.encode("abc") == "▁ a b c"
    found = {path.name for path in exported.iterdir()}
    assert found == {"model.safetensors", "config.json", "dict.src.txt", "dict.tgt.txt", "letters.model"}
    assert str(trained) not in (exported / "config.json").read_text()
    assert (exported / "model.safetensors").stat().st_mode == (exported / "config.json").stat().st_mode


def test_all_parameters_are_there_once(exported, trained):
    from safetensors.torch import load_file

    stored, saved = (
        load_file(exported / "model.safetensors"),
        torch.load(trained / "model.pt", weights_only=True)["model"],
    )
    assert saved.keys() - stored.keys() == {"decoder.embed_tokens.weight"}
    assert all(torch.equal(value, saved[name]) for name, value in stored.items())


def test_fairseq_s_commands_read_it(exported, trained, toy_data, tmp_path):
    common = [toy_data / "bin", "--task", "bang", "--cpu", "--decoding", "nar", "--max-len-b", 15, "--path"]
    of_export = hypotheses(fairseq("generate", *common, exported / "model.safetensors"))
    assert of_export == hypotheses(fairseq("generate", *common, trained / "model.pt"))
    start = ["--load-from-pretrained-model", exported / "model.safetensors", "--max-update", 1]
    fairseq("train", toy_data / "bin", "--task", "bang", "--save-dir", tmp_path, *SMALL, *start, "--disable-validation")


def test_damaged_and_incomplete_folders(copy):
    config, file = copy / "config.json", copy / "model.safetensors"
    whole, said = file.read_bytes(), json.loads(config.read_text())
    file.write_bytes(whole[:-8] + b"\x01" + whole[-7:])
    with pytest.raises(BangError, match="model.safetensors: not the file that config.json .* was written for"):
        from_pretrained(str(copy))
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BangError, match="model.safetensors: not a whole checkpoint file"):
        from_pretrained(str(copy))
    file.write_bytes(whole)
    said["cfg"]["model"]["encoder_layers"] = "print('x')"
    config.write_text(json.dumps(said))
    with pytest.raises(BangError, match="refused, because loading it could run code: .*encoder_layers"):
        from_pretrained(str(copy))
    for text, message in (("{", "not JSON"), ("{}", "not one that bang export wrote")):
        config.write_text(text)
        with pytest.raises(BangError, match=f"config.json: {message}"):
            from_pretrained(str(copy))
    config.unlink()
    with pytest.raises(BangError, match="config.json: No such file .* how to build"):
        from_pretrained(str(copy))


def test_without_the_package(exported, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(BangError, match=r'needs the package safetensors: pip install "bang_plugin\[export\]"'):
        from_pretrained(str(exported))
    with pytest.raises(SystemExit, match=r'^error: model.safetensors: .* pip install "bang_plugin\[export\]"$'):
        bang(["export", str(trained), str(tmp_path / "out"), "--format", "safetensors"])
    assert not list(tmp_path.iterdir())


def test_bad_input(exported, trained, tmp_path):
    shutil.copy(trained / "model.pt", trained / "other.pt")
    for folder, out, more, message in (
        (trained, exported, [], "tensors: is there already; give a new or an empty folder"),
        (tmp_path / "none", tmp_path / "out", [], "none: no such folder"),
        (trained, tmp_path / "out", ["--checkpoint-file", "model.pt:other.pt"], "an ensemble of 2 models"),
        (trained, tmp_path / "out", ["--data", str(tmp_path)], "language pair"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            bang(["export", str(folder), str(out), "--format", "safetensors", *more])
    assert not list(tmp_path.iterdir())


def test_where_it_is_written(trained, tmp_path, monkeypatch):
    here, link = tmp_path / "here", tmp_path / "link"
    here.mkdir()
    link.symlink_to(here)
    bang(["export", str(trained), str(link), "--format", "safetensors"])
    assert link.is_symlink() and (here / "model.safetensors").exists()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for out, message in (
        (".", r"\.: is the current folder"),
        (str(here / "config.json" / "out"), "config.json is no folder"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            bang(["export", str(trained), out, "--format", "safetensors"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "here", "link"]
