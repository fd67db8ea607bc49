"""``bang convert``: what cannot be converted is one line and leaves nothing behind; names on the hub."""

import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bang_plugin.__main__ import main
from tests.test_checkpoints import Payload

from .conftest import edit_config


def change(folder, edit):
    """Edit the parameters of a folder."""
    parameters = load_file(folder / "model.safetensors")
    edit(parameters)
    save_file(parameters, folder / "model.safetensors")


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def pickle(folder, contents):
    (folder / "model.safetensors").unlink()
    torch.save(contents, folder / "pytorch_model.bin")


LAYER = "prophetnet.decoder.layers.0"
MISTAKES = {
    "no model": (shutil.rmtree, "no such folder, and no name on the hub"),
    "a file": (lambda f: (shutil.rmtree(f), f.write_text("")), "no such folder, and no name on the hub"),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json in it"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: cannot be read as JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "config.json: holds no JSON object"),
    "another model": (lambda f: edit_config(f, model_type="gpt2"), "a model of type gpt2, not prophetnet"),
    "no size": (lambda f: edit_config(f, hidden_size=None), "hidden_size is None"),
    "activation": (lambda f: edit_config(f, activation_function="swish"), "activation_function is swish"),
    "padding": (lambda f: edit_config(f, pad_token_id=4), r"pad_token_id is 4, but \[PAD\] is 0"),
    "no vocabulary": (lambda f: (f / "prophetnet.tokenizer").unlink(), "no prophetnet.tokenizer or vocab.txt in it"),
    "short vocabulary": (lambda f: (f / "prophetnet.tokenizer").write_text("[PAD]\na\n"), r"needs \[CLS\], \[SEP\]"),
    "long vocabulary": (
        lambda f: (f / "prophetnet.tokenizer").write_text((f / "prophetnet.tokenizer").read_text() + "z1\nz2\n"),
        "62 symbols, but the model's embedding has 60 rows",
    ),
    "twice": (
        lambda f: (f / "prophetnet.tokenizer").write_text((f / "prophetnet.tokenizer").read_text() + "[PAD]\n"),
        "line 61: symbol '.PAD.' stands on line 1 already",
    ),
    "binary vocabulary": (lambda f: (f / "prophetnet.tokenizer").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "no sentencepieces": (lambda f: edit_config(f, model_type="xlm-prophetnet"), "not a sentencepiece model"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors or pytorch_model.bin in it"),
    "cut": (lambda f: cut(f / "model.safetensors"), "model.safetensors: not a whole"),
    "code": (lambda f: pickle(f, {"a": Payload(f / "ran")}), "pytorch_model.bin: refused, because .* could run code"),
    "no tensors": (lambda f: pickle(f, {"a": "b"}), "pytorch_model.bin: no file of named parameters"),
    "wider": (
        lambda f: edit_config(f, hidden_size=32),
        r"another architecture: .* of another size \(first: decoder.emb_layer_norm.bias, \(16,\) instead of \(32,\)\)",
    ),
    "more layers": (lambda f: edit_config(f, num_encoder_layers=3), "missing .first: encoder.layers.2"),
    "unknown": (
        lambda f: change(f, lambda p: p.update({"prophetnet.encoder.more": torch.ones(1)})),
        "1 unknown .first: encoder.more",
    ),
    "no values": (
        lambda f: change(f, lambda p: p.pop(f"{LAYER}.self_attn.value_proj.bias")),
        "missing .first: decoder.layers.0.ngram_self_attn.in_proj_bias",
    ),
    "two embeddings": (
        lambda f: change(f, lambda p: p.update({"lm_head.weight": torch.ones(60, 16)})),
        "encoder, decoder and output have embeddings of their own",
    ),
    "no embeddings": (
        lambda f: change(f, lambda p: [p.pop(k) for k in list(p) if "word_embeddings" in k or "lm_head" in k]),
        "no word_embeddings among its parameters",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(prophetnet, tmp_path, mistake):
    folder, out = tmp_path / "model", tmp_path / "new" / "out"
    shutil.copytree(prophetnet.folder, folder)
    edit, message = MISTAKES[mistake]
    edit(folder)
    with pytest.raises(SystemExit, match=message) as error:
        main(["convert", "prophetnet", str(folder), "--output", str(out)])
    assert str(error.value).startswith("error: ") and "\n" not in str(error.value)
    assert not list(tmp_path.glob("new/*")) and not (folder / "ran").exists()


BERT_MISTAKES = {
    "another model": (lambda f: edit_config(f, model_type="roberta"), "a model of type roberta, not bert"),
    "positions": (lambda f: edit_config(f, position_embedding_type="relative_key"), "relative_key, not absolute"),
    "no types": (
        lambda f: change(f, lambda p: p.pop("embeddings.token_type_embeddings.weight")),
        "no embeddings.token_type_embeddings.weight among its parameters",
    ),
    "fewer layers": (
        lambda f: change(f, lambda p: [p.pop(k) for k in list(p) if "layer.2." in k]),
        "missing .first: encoder.layers.2",
    ),
}


@pytest.mark.parametrize("mistake", BERT_MISTAKES)
def test_bert_mistakes(bert, tmp_path, mistake):
    folder = tmp_path / "model"
    shutil.copytree(bert.folder, folder)
    edit, message = BERT_MISTAKES[mistake]
    edit(folder)
    with pytest.raises(SystemExit, match=message):
        main(["convert", "bert", str(folder), "--output", str(tmp_path / "out")])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_is_overwritten(prophetnet, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    for out in ("out", "out/mine"):
        with pytest.raises(SystemExit, match=f"--output {tmp_path}/{out}: is there already"):
            main(["convert", "prophetnet", str(prophetnet.folder), "--output", str(tmp_path / out)])


def test_a_full_disk(prophetnet, tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SystemExit, match="No space left on device"):
        main(["convert", "prophetnet", str(prophetnet.folder), "--output", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def hub(prophetnet, monkeypatch):
    """A hub of one model; lists what was asked for."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def hf_hub_download(model, name):
        asked.append((model, name))
        if not (prophetnet.folder / name).exists():
            raise EntryNotFoundError(name)
        return str(prophetnet.folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return asked


def test_a_name_on_the_hub(hub, converted, tmp_path, monkeypatch):
    """The small files first, and of the two files of weights one."""
    monkeypatch.chdir(tmp_path)
    main(["convert", "prophetnet", "someone/prophet-net", "--output", "out"])
    names = ["config.json", "prophetnet.tokenizer", "tokenizer_config.json", "model.safetensors"]
    assert hub == [("someone/prophet-net", name) for name in names]
    ours, theirs = (torch.load(f / "model.pt", weights_only=True)["model"] for f in (Path("out"), converted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_another_kind_is_not_downloaded(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="a model of type prophetnet, not bert"):
        main(["convert", "bert", "someone/prophet-net", "--output", "out"])
    assert [name for _, name in hub] == ["config.json"]


def no_address(*unused, **options):
    raise socket.gaierror(-2, "no such name")


@pytest.mark.parametrize("offline, reason", [(True, "offline"), (False, "no such name")])
def test_without_a_network(tmp_path, monkeypatch, capfd, offline, reason):
    """One line, after one that says what is tried; nothing of the hub's own attempts."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.getaddrinfo", no_address)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    message = (
        rf"^error: someone/none: no folder here, and not to be had from the Hugging Face hub \(.*{reason}.*\): "
        r"download its config.json, prophetnet.tokenizer \(or vocab.txt\), tokenizer_config.json and "
        r"model.safetensors or pytorch_model.bin where there is a network, into one folder, and give that folder "
        r"instead of the name$"
    )
    with pytest.raises(SystemExit, match=message):
        main(["convert", "prophetnet", "someone/none", "--output", str(tmp_path / "out")])
    written = capfd.readouterr()
    assert written.out == "someone/none: no folder here, looking on the Hugging Face hub\n" and written.err == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package, message", [("huggingface_hub", "someone/none: "), ("safetensors", "model.safetens")])
def test_without_the_extra(prophetnet, tmp_path, monkeypatch, package, message):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.torch", None)
    model = "someone/none" if package == "huggingface_hub" else str(prophetnet.folder)
    with pytest.raises(SystemExit, match=rf"{message}.*{package}: pip install 'bang_plugin\[convert\]'"):
        main(["convert", "prophetnet", model, "--output", str(tmp_path / "out")])
