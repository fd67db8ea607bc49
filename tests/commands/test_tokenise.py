"""Tokenisers: what goes in comes out again."""

import io
import sys

import pytest

from bang_plugin.__main__ import main
from bang_plugin.commands.tokenise import load, train

TEXT = ["Answer: 42 (forty-two)!", "naïve café, œuvre — “quoted”", "", "ﬁne ２ 中文 😀", "the same word the word"] * 20
VOCABULARY = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz!,.'"]
VOCABULARY += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"] + ["the", "play", "##ing"]


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return path


def run(monkeypatch, capsys, lines, *arguments):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(line + "\n" for line in lines).encode())))
    main(["tokenise", *map(str, arguments)])
    return capsys.readouterr().out.split("\n")[:-1]


def test_sentencepieces_are_reversible(tmp_path, monkeypatch, capsys):
    (tmp_path / "text").write_text("\n".join(TEXT))
    model = tmp_path / "new folder" / "spm.model"
    main(["tokenise", "train", "--model", str(model), "--size", "43", str(tmp_path / "text")])
    pieces = run(monkeypatch, capsys, TEXT, "encode", "--model", model)
    assert len(pieces) == len(TEXT) and pieces != TEXT
    assert run(monkeypatch, capsys, pieces, "decode", "--model", model) == TEXT
    assert [p.name for p in model.parent.iterdir()] == ["spm.model"]


def test_word_pieces(vocab, monkeypatch, capsys):
    text = ["The plays, playing!", "café [SEP] don't", "ü中"]
    pieces = run(monkeypatch, capsys, text, "encode", "--vocab", vocab)
    assert pieces == ["the play ##s , play ##ing !", "c ##a ##f ##e [SEP] d ##o ##n ' t", "u [UNK]"]
    words = run(monkeypatch, capsys, pieces, "decode", "--vocab", vocab)
    assert words == ["the plays , playing !", "cafe [SEP] don ' t", "u [UNK]"]
    # and joined words split again as before
    assert run(monkeypatch, capsys, words[:2], "encode", "--vocab", vocab) == pieces[:2]


def test_cased_word_pieces(vocab, monkeypatch, capsys):
    assert run(monkeypatch, capsys, ["The the"], "encode", "--vocab", vocab, "--cased") == ["[UNK] the"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["encode"], "give either --model"),
        (["encode", "--model", "{}/none.model"], "none.model: not a sentencepiece model"),
        (["encode", "--vocab", "{}/none.txt"], "none.txt: No such file"),
        (["encode", "--vocab", "{}/bad.txt"], "bad.txt: not a BERT vocabulary"),
        (["train", "{}/bad.txt"], "train needs --model, the file to write"),
        (["train", "--model", "{}/m.model", "{}/nothing"], "nothing: no such file"),
        (["train", "--model", "{}/m.model", "--size", "9999", "{}/bad.txt"], "--size 9999: Vocabulary size too high"),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    (tmp_path / "bad.txt").write_text("one two three four five\n" * 5)
    with pytest.raises(SystemExit, match=message):
        main(["tokenise", *(argument.format(tmp_path) for argument in arguments)])
    assert [p.name for p in tmp_path.iterdir()] == ["bad.txt"]


def test_libraries_agree_with_fairseqs_option(tmp_path):
    """What the script encodes is what --bpe sentencepiece would."""
    (tmp_path / "text").write_text("\n".join(TEXT))
    train([tmp_path / "text"], tmp_path / "spm.model", 43)
    tokeniser = load(tmp_path / "spm.model", None)
    assert tokeniser.decode(tokeniser.encode("the word")) == "the word"


def test_nothing_to_train_on(tmp_path):
    (tmp_path / "empty").write_text("")
    with pytest.raises(SystemExit, match="--size 40: .*[a-z]"):
        main(["tokenise", "train", "--model", str(tmp_path / "m.model"), "--size", "40", str(tmp_path / "empty")])


def test_bytes_that_are_not_utf8(tmp_path, monkeypatch, capsys):
    (tmp_path / "text").write_text("\n".join(TEXT))
    train([tmp_path / "text"], tmp_path / "spm.model", 43)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the \xff word\nthe\n")))
    main(["tokenise", "encode", "--model", str(tmp_path / "spm.model")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "\ufffd" in lines[0]
