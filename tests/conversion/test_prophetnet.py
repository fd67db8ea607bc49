"""``bang convert prophetnet``: the numbers are transformers', in every stream that is the same."""

import json
import os
import shutil
import warnings
from unittest import mock

import pytest
import torch
from fairseq import checkpoint_utils

from bang_plugin.__main__ import main
from bang_plugin.checkpoints.parameters import resize_positions
from bang_plugin.conversion import bert as bert_conversion
from bang_plugin.conversion import prophetnet as prophetnet_conversion
from bang_plugin.conversion import writing
from bang_plugin.conversion.source import Source
from bang_plugin.data.dictionary import load_dictionary
from bang_plugin.guards import table
from bang_plugin.models.bang import BangModel
from bang_plugin.tasks.bang import BangTask

from .conftest import LENGTH, edit_config


def load(folder):
    table.install()
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task([str(folder / "model.pt")])
    return model.eval(), task


def random_tokens(rows, length, low, high):
    torch.manual_seed(5)
    return torch.randint(low, high, (rows, length))


def predicted_biases(self, hidden, weights, positions, buckets):
    """transformers' method with each bias at its own sequence, stream and head (see docs/pretrained.md)."""
    bias = self.relative_pos_embeddings(hidden).unflatten(-1, (self.num_buckets, self.num_attn_heads))
    bias = bias.permute(0, 2, 4, 1, 3)  # (batch, seq, stream, bucket, head) -> (batch, stream, head, seq, bucket)
    return bias.gather(-1, buckets.long()[:, None, None].expand(*bias.shape[:4], -1))


def check_parity(theirs, model, pad, low, high):
    """Encoder, main stream and stream 1 of two sentences, of which the first source is shorter."""
    source, target = random_tokens(2, 30, low, high), random_tokens(2, 25, low, high)
    source[0, 20:] = pad
    inner = getattr(theirs, "prophetnet", theirs)
    attention = type(inner.decoder.layers[0].self_attn)

    def run(target):
        mask = source.ne(pad).long()
        return inner(input_ids=source, attention_mask=mask, decoder_input_ids=target, use_cache=False)

    def log_probs(hidden):
        return (hidden @ inner.get_input_embeddings().weight.T).log_softmax(-1)

    def close(ours, theirs):
        assert theirs.abs().max() > 0.1
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)

    with torch.no_grad():
        whole, first = run(target), run(target[:, :1])
        with mock.patch.object(attention, "get_predict_relative_pos_embeddings", predicted_biases):
            right = run(target)
        encoder_out = model.encoder(source, source.ne(pad).sum(1))
        streams = model.decoder.teacher_forcing(target, torch.ones_like(target), full=True)
        hidden = model.decoder.rows(target, streams, encoder_out)
        stream_1 = model.decoder(target, encoder_out)[0].log_softmax(-1)
    real = source.ne(pad)
    close(encoder_out["encoder_out"][0].transpose(0, 1)[real], whole.encoder_last_hidden_state[real])
    close(hidden[:, :25], whole.last_hidden_state)
    close(stream_1[:, :1], log_probs(first.last_hidden_state_ngram[:, :1]))
    close(stream_1, log_probs(right.last_hidden_state_ngram[:, :25]))


def test_parity_from_safetensors(prophetnet, converted, symbols):
    model, _ = load(converted)
    check_parity(prophetnet.model, model, symbols.index("[PAD]"), 10, len(symbols))


def test_parity_from_a_pickle(pickled, tmp_path, symbols):
    main(["convert", "prophetnet", str(pickled.folder), "--output", str(tmp_path / "out")])
    model, _ = load(tmp_path / "out")
    check_parity(pickled.model, model, symbols.index("[PAD]"), 10, len(symbols))


def test_cross_lingual_symbols_keep_their_embeddings(xprophetnet, tmp_path):
    """By their texts: piece i of sentencepiece is row i + 12 of transformers', after its special symbols."""
    import sentencepiece

    main(["convert", "prophetnet", str(xprophetnet.folder), "--output", str(tmp_path / "out")])
    model, task = load(tmp_path / "out")
    theirs = xprophetnet.model.get_input_embeddings().weight
    ours, dictionary = model.decoder.embed_tokens.weight, task.source_dictionary
    splitter = sentencepiece.SentencePieceProcessor(str(xprophetnet.folder / "prophetnet.tokenizer"))
    expected = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "[MASK]": 4, "[unused0]": 5, "[unused9]": 14}
    expected |= {splitter.id_to_piece(i): i + 12 for i in range(3, len(splitter))}
    assert len(dictionary) == len(ours) == 36 and len(expected) == 28
    for symbol, row in expected.items():
        assert torch.equal(ours[dictionary.index(symbol)], theirs[row]), symbol
    assert [dictionary[i] for i in (dictionary.pad(), dictionary.eos(), dictionary.unk())] == [
        "[PAD]",
        "[SEP]",
        "[UNK]",
    ]
    check_parity(xprophetnet.model, model, 0, 15, 36)
    # the text's pieces, and back
    hub = BangModel.from_pretrained(str(tmp_path / "out"))
    text = "the cat, ein Hund"
    assert (
        hub.encode(text).tolist() == [i + 12 for i in splitter.encode(text)] + [2]
        and hub.decode(hub.encode(text)) == text
    )


def test_checkpoint_from_python(prophetnet, converted, symbols):
    hub = BangModel.from_pretrained(str(converted))
    assert hub.task.source_dictionary.symbols == symbols
    assert hub.task.cfg.max_source_positions == LENGTH - 1 and hub.task.cfg.max_target_positions == LENGTH - 2
    assert hub.sample("a b", max_len_b=5) == hub.sample("a b", max_len_b=5, decoding="speculative")
    assert isinstance(hub.sample("a b", decoding="nar", max_len_b=5), str)


@pytest.mark.parametrize("length", [LENGTH // 2, LENGTH + 20])
def test_position_tables_are_cut_and_extended(prophetnet, converted, length):
    table.install()
    overrides = {"max_source_positions": length, "max_target_positions": length}
    [model], _ = checkpoint_utils.load_model_ensemble([str(converted / "model.pt")], arg_overrides=overrides)
    for side, rows in (("encoder", length + 1), ("decoder", length + 2)):
        theirs = getattr(prophetnet.model.prophetnet, side).position_embeddings.weight
        ours = getattr(model, side).embed_positions.weight
        assert len(ours) == rows and torch.equal(ours, resize_positions(theirs, rows))
        same = min(rows, LENGTH)
        assert torch.equal(ours[:same], theirs[:same])


def test_what_is_told(prophetnet, xprophetnet, tmp_path, capsys):
    (tmp_path / "out").mkdir()  # empty, it may be there
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has nothing else to say
        main(["convert", "prophetnet", str(prophetnet.folder), "--output", str(tmp_path / "out")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}/out: model.pt, dict.src.txt, dict.tgt.txt, vocab.txt from {prophetnet.folder}"
    assert "further streams are dropped" in lines[1] and len(lines) == 3
    options = lines[2]
    assert "--arch bang_large" in options and "--num-buckets 6" in options and "--decoder-ffn-embed-dim 20" in options
    names = ["dict.src.txt", "dict.tgt.txt", "model.pt", "vocab.txt"]
    assert sorted(os.listdir(tmp_path / "out")) == names and os.listdir(tmp_path) == ["out"]
    # another first symbol of generation
    other = tmp_path / "other"
    shutil.copytree(xprophetnet.folder, other)
    edit_config(other, decoder_start_token_id=0)
    main(["convert", "prophetnet", str(other), "--output", str(tmp_path / "out2")])
    assert "its decoder starts from symbol 0, ours from [SEP], which is 2" in capsys.readouterr().out


def test_cased_word_pieces(prophetnet, converted, tmp_path):
    """As ``tokenizer_config.json`` says; else lower case, as ProphetNet's and BERT's usual vocabularies."""
    shutil.copytree(prophetnet.folder, tmp_path / "cased")
    (tmp_path / "cased" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    main(["convert", "prophetnet", str(tmp_path / "cased"), "--output", str(tmp_path / "out")])
    hubs = [BangModel.from_pretrained(str(folder)) for folder in (converted, tmp_path / "out")]
    assert [hub.bpe.tokenizer.normalizer.lowercase for hub in hubs] == [True, False]


def full_size(folder, config, parameters, monkeypatch):
    """A source of the published sizes: its parameters have names and shapes, but no numbers."""
    folder.mkdir()
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *(f"w{i}" for i in range(config.vocab_size - 5))]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    monkeypatch.setattr(Source, "parameters", lambda source: parameters)
    return Source(str(folder), "")


def test_published_sizes_are_the_presets(transformers, tmp_path, monkeypatch):
    """transformers' defaults are those of prophetnet-large-uncased and bert-base-uncased."""
    config = transformers.ProphetNetConfig()
    with torch.device("meta"):
        parameters = transformers.ProphetNetForConditionalGeneration(config).state_dict()
    for copy in ("prophetnet.encoder.word_embeddings.weight", "prophetnet.decoder.word_embeddings.weight"):
        del parameters[copy]
    del parameters["lm_head.weight"]  # the numbers are not there to compare
    found = prophetnet_conversion.convert(full_size(tmp_path / "p", config, parameters, monkeypatch))
    assert found.training_options() == ["--arch", "bang_large"]
    cfg = writing._configuration(found, tmp_path / "p", 0)
    assert (cfg.task.max_source_positions, cfg.task.max_target_positions) == (511, 510)
    dictionary = load_dictionary(str(tmp_path / "p" / "vocab.txt"))
    complete = writing._complete(
        found.parameters, cfg, BangTask(cfg.task, dictionary, dictionary), 1
    )  # checks all shapes
    assert len(complete) == len(found.parameters) + 1 and complete["decoder.layers.11.fc1.weight"].shape == (4096, 1024)

    config = transformers.BertConfig()
    with torch.device("meta"):
        parameters = transformers.BertModel(config).state_dict()
    found = bert_conversion.convert(full_size(tmp_path / "b", config, parameters, monkeypatch))
    assert found.training_options() == ["--arch", "bang_base", "--encoder-layers", "12"]
