"""``bang convert bert``: the encoder's numbers are transformers', the rest is said."""

import io
import re
import shutil
import sys

import pytest
import torch

from bang_plugin.__main__ import main

from .conftest import LENGTH, edit_config
from .test_prophetnet import load, random_tokens


def encode(model, tokens):
    with torch.no_grad():
        return model.encoder(tokens, torch.full((len(tokens),), tokens.size(1)))["encoder_out"][0].transpose(0, 1)


def bert_of(bert, tokens, layer=-1):
    with torch.no_grad():
        return bert.model(input_ids=tokens, output_hidden_states=True).hidden_states[layer]


@pytest.fixture(scope="module")
def converted_bert(bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "bert"
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as told:
        patch.setattr(sys, "stdout", told)
        main(["convert", "bert", str(bert.folder), "--output", str(folder)])
        (folder / "told").write_text(told.getvalue())
    return folder


def test_parity(bert, converted_bert, symbols):
    model, task = load(converted_bert)
    tokens = random_tokens(2, LENGTH, 10, len(symbols))  # the whole table
    torch.testing.assert_close(encode(model, tokens), bert_of(bert, tokens), rtol=0, atol=1e-5)
    assert torch.equal(model.decoder.embed_tokens.weight, bert.model.get_input_embeddings().weight)
    assert model.cfg.max_source_positions == task.cfg.max_source_positions == LENGTH
    assert len(model.decoder.layers) == 6  # bang_base's
    told = (converted_bert / "told").read_text()
    assert re.search(r"^note: initialised at random.*decoder's layers with their cross-attention", told, re.M)
    assert "token type 0 is added to the positions" in told and "LayerNorm" not in told.split("note: token")[1]
    assert "--arch bang_base --encoder-layers 3" in told


def test_first_layers_in_the_first_checkpoints_names(bert, tmp_path, symbols, capsys):
    """``bert.`` before the names, gamma and beta of LayerNorm, heads: as the published file has them."""
    folder = tmp_path / "bert"
    shutil.copytree(bert.folder, folder)
    (folder / "model.safetensors").unlink()
    old = {f"bert.{name}": value.half() for name, value in bert.model.state_dict().items()}
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for n, v in old.items()
    }
    torch.save({**old, "cls.predictions.bias": torch.zeros(3)}, folder / "pytorch_model.bin")
    layers = ["--encoder-layers", "2", "--decoder-layers", "1"]
    main(["convert", "bert", str(folder), "--output", str(tmp_path / "out"), *layers])
    model, _ = load(tmp_path / "out")
    assert len(model.encoder.layers) == 2 and len(model.decoder.layers) == 1
    tokens = random_tokens(2, 20, 10, len(symbols))
    # of half precision, but every number is in its place
    torch.testing.assert_close(encode(model, tokens), bert_of(bert, tokens, 2), rtol=0, atol=0.02)
    assert next(model.parameters()).dtype == torch.float32
    assert "and layers 3 to 3" in capsys.readouterr().out


def test_seed_of_the_decoder_and_another_epsilon(bert, converted_bert, tmp_path, capsys):
    shutil.copytree(bert.folder, tmp_path / "bert")
    edit_config(tmp_path / "bert", layer_norm_eps=1e-12)
    main(["convert", "bert", str(tmp_path / "bert"), "--output", str(tmp_path / "out"), "--seed", "2"])
    assert "LayerNorm adds 1e-5 to the variance where BERT adds 1e-12" in capsys.readouterr().out
    one, two = (torch.load(f / "model.pt", weights_only=True)["model"] for f in (converted_bert, tmp_path / "out"))
    drawn = {name for name in one if name.startswith("decoder.") and name.endswith("proj.weight")}
    same = {name for name in one if torch.equal(one[name], two[name])}
    assert drawn and not drawn & same and all(name in same for name in one if not name.startswith("decoder."))


@pytest.mark.parametrize("option", [["--encoder-layers", "4"], ["--encoder-layers", "0"], ["--decoder-layers", "0"]])
def test_impossible_layers(bert, tmp_path, option):
    with pytest.raises(SystemExit, match=" ".join(option)):
        main(["convert", "bert", str(bert.folder), "--output", str(tmp_path / "out"), *option])
    assert not list(tmp_path.iterdir())
