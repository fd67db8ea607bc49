"""Random tiny models of transformers', saved as transformers saves them."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from bang_plugin.__main__ import main
from bang_plugin.commands import tokenise
from tests.conftest import REFERENCE

VOCABULARY = REFERENCE / "vocab.txt"
LENGTH = 40  # of the position tables
PROPHETNET = {
    "hidden_size": 16,
    "num_encoder_layers": 2,
    "encoder_ffn_dim": 24,
    "num_encoder_attention_heads": 4,
    "num_decoder_layers": 2,
    "decoder_ffn_dim": 20,
    "num_decoder_attention_heads": 2,
    "max_position_embeddings": LENGTH,
    "num_buckets": 6,
    "relative_max_distance": 9,
    "init_std": 0.3,
}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH,
    "layer_norm_eps": 1e-5,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


@pytest.fixture(scope="session")
def transformers():
    """Its models' classes. It imports torchaudio if that is installed, whether or not it is one that works."""
    import transformers.utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.utils, "is_torchaudio_available", lambda: False)
        names = ("ProphetNetConfig", "ProphetNetModel", "ProphetNetForConditionalGeneration", "BertConfig", "BertModel")
        return SimpleNamespace(**{name: getattr(transformers, name) for name in names})


def randomised(model):
    """Biases and LayerNorms too, which transformers begins with 0 and 1."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def save(model, folder, vocabulary, name, pickled=False):
    model.save_pretrained(folder)
    shutil.copy(vocabulary, folder / name)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return SimpleNamespace(folder=folder, model=model)


def special(symbols) -> dict:
    sep = symbols.index("[SEP]")
    return {
        "vocab_size": len(symbols),
        "pad_token_id": symbols.index("[PAD]"),
        **dict.fromkeys(("bos_token_id", "eos_token_id", "decoder_start_token_id"), sep),
    }


@pytest.fixture(scope="session")
def symbols() -> list[str]:
    return [line.rpartition(" ")[0] or line for line in VOCABULARY.read_text().splitlines()]


@pytest.fixture(scope="session")
def prophetnet(transformers, symbols, tmp_path_factory):
    """With head, three streams, safetensors."""
    config = transformers.ProphetNetConfig(**special(symbols), **PROPHETNET, ngram=3)
    torch.manual_seed(0)
    model = randomised(transformers.ProphetNetForConditionalGeneration(config))
    return save(model, tmp_path_factory.mktemp("prophetnet"), VOCABULARY, "prophetnet.tokenizer")


@pytest.fixture(scope="session")
def pickled(transformers, symbols, tmp_path_factory):
    """Without head, two streams, pickle, vocabulary under BERT's name."""
    config = transformers.ProphetNetConfig(**special(symbols), **PROPHETNET, ngram=2)
    torch.manual_seed(1)
    model = randomised(transformers.ProphetNetModel(config))
    return save(model, tmp_path_factory.mktemp("pickled"), VOCABULARY, "vocab.txt", pickled=True)


@pytest.fixture(scope="session")
def xprophetnet(transformers, tmp_path_factory):
    """With sentencepieces; transformers 5 has the class no longer, whose parameters were ProphetNet's."""
    folder = tmp_path_factory.mktemp("xprophetnet")
    text, pieces = folder / "text", folder / "pieces"
    text.write_text("the cat sat on the mat, the dog did not\neine Katze, ein Hund\n" * 20)
    tokenise.train([text], pieces, 24)
    sizes = {"vocab_size": 24 + 12, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1}
    torch.manual_seed(2)
    config = transformers.ProphetNetConfig(**sizes, **PROPHETNET, decoder_start_token_id=2)
    model = randomised(transformers.ProphetNetForConditionalGeneration(config))
    saved = save(model, folder / "saved", pieces, "prophetnet.tokenizer", pickled=True)
    edit_config(saved.folder, model_type="xlm-prophetnet")
    return saved


@pytest.fixture(scope="session")
def bert(transformers, symbols, tmp_path_factory):
    torch.manual_seed(4)
    model = randomised(transformers.BertModel(transformers.BertConfig(vocab_size=len(symbols), **BERT)))
    return save(model, tmp_path_factory.mktemp("bert"), VOCABULARY, "vocab.txt")


def edit_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="session")
def converted(prophetnet, tmp_path_factory):
    """What ``bang convert prophetnet`` makes of it."""
    folder = tmp_path_factory.mktemp("converted") / "out"
    main(["convert", "prophetnet", str(prophetnet.folder), "--output", str(folder)])
    return folder
