"""Dictionaries: the release's vocabulary file and fairseq's format."""

import pytest

from bang_plugin.data.dictionary import BertDictionary, fingerprint, load_dictionary
from bang_plugin.errors import BangError

from .conftest import REFERENCE


def test_release_vocabulary(reference):
    d = load_dictionary(str(REFERENCE / "vocab.txt"))
    meta = reference.meta
    assert isinstance(d, BertDictionary) and len(d) == meta["vocab_size"]
    assert (d.pad(), d.eos(), d.bos(), d.unk()) == (meta["pad"], meta["eos"], meta["bos"], meta["unk"])
    assert d.index("[MASK]") == meta["mask"] and d.index("nowhere") == d.unk()


def test_saved_dictionary_loads_alike(tmp_path, reference):
    reference.dictionary.save(str(tmp_path / "dict.txt"))
    assert load_dictionary(str(tmp_path / "dict.txt")).symbols == reference.dictionary.symbols


def test_plain_bert_vocabulary_without_counts(tmp_path, reference):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(reference.dictionary.symbols) + "\n")
    assert fingerprint(load_dictionary(str(path))) == fingerprint(reference.dictionary)


def test_fairseq_format(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_text("b 3\na 2\n")
    d = load_dictionary(str(path))
    assert d.symbols == ["<s>", "<pad>", "</s>", "<unk>", "b", "a"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[PAD] 1\n[UNK] 1\n[SEP] 1\n[CLS] 1\n[MASK] 1\nx 1\nx 1\n", "line 7: symbol 'x' stands on line 6 already"),
        ("[PAD] 1\n[UNK] 1\n[SEP] 1\n[CLS] 1\n", r"needs \[MASK\]"),
        ("a 1\na 1\n", "Duplicate"),
        ("justaword\n", "Incorrect dictionary format"),
    ],
)
def test_malformed(tmp_path, text, message):
    path = tmp_path / "dict.txt"
    path.write_text(text)
    with pytest.raises(BangError, match=message):
        load_dictionary(str(path))


def test_unreadable(tmp_path):
    with pytest.raises(BangError, match="none.txt: No such file"):
        load_dictionary(str(tmp_path / "none.txt"))
    (tmp_path / "latin.txt").write_bytes("ü 1\n".encode("latin-1"))
    with pytest.raises(BangError, match="not UTF-8"):
        load_dictionary(str(tmp_path / "latin.txt"))
