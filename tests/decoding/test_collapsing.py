"""``--collapse-repeats``: what the release's post-processing leaves of NAR outputs, case by case."""

import pytest
import torch
from fairseq.data import Dictionary

from bang_plugin.data.dictionary import BertDictionary
from bang_plugin.decoding.collapsing import Collapsing
from bang_plugin.decoding.loop import BlockGenerator
from bang_plugin.decoding.nar import nar
from bang_plugin.decoding.state import DecodingState, Limits

BERT = "[PAD] [UNK] [CLS] [SEP] [MASK] play playing ##ing ##s a b to ##day"


@pytest.fixture
def bert(tmp_path):
    (tmp_path / "vocab.txt").write_text(BERT.replace(" ", "\n") + "\n")
    return BertDictionary.load(str(tmp_path / "vocab.txt"))


def dictionary(*symbols):
    made = Dictionary()
    for symbol in symbols:
        made.add_symbol(symbol)
    return made


def left(dictionary, text):
    tokens = torch.tensor([dictionary.index(symbol) for symbol in text.split()] + [dictionary.eos()])
    places = Collapsing(dictionary).places(tokens)
    assert places[-1] == len(tokens) - 1  # the end symbol stays
    return " ".join(dictionary.symbols[tokens[place]] for place in places[:-1])


@pytest.mark.parametrize(
    "written, expected",
    [
        ("", ""),
        ("a a b b b a", "a b a"),
        ("play ##ing ##ing ##ing a", "play ##ing a"),
        ("play ##ing play ##ing a", "play ##ing a"),  # "playing playing a", once joined
        ("play ##ing playing a", "play ##ing a"),  # the same word in other pieces
        ("play ##ing playing play ##ing play ##s", "play ##ing play ##s"),
        ("play a play ##ing a playing", "play a play ##ing a playing"),  # no neighbours
        ("play play ##ing", "play ##ing"),  # pieces first: the word "play" is lost
        ("##s a ##s a", "##s a ##s a"),
        ("play ##ing ##ing playing playing", "play ##ing"),  # pieces first, then words
        ("[SEP] [SEP] a b", "a b"),
        ("[CLS] a [CLS] a b", "a b"),  # begin symbols come between nothing
        ("to ##day to day", "to ##day to [UNK]"),
    ],
)
def test_word_pieces(bert, written, expected):
    assert left(bert, written) == expected


def test_sentencepieces():
    pieces = dictionary("▁", "▁play", "ing", "▁playing", "▁a", "play")
    assert left(pieces, "▁play ing ▁play ing ▁a ▁a") == "▁play ing ▁a"
    assert left(pieces, "▁play ing ▁playing ▁a") == "▁play ing ▁a"
    assert left(pieces, "▁ play ing ▁playing ▁play") == "▁ play ing ▁play"


def test_subword_nmt():
    pieces = dictionary("play@@", "ing", "playing", "a")
    assert left(pieces, "play@@ ing play@@ ing playing a a") == "play@@ ing a"


def test_words_are_compared_as_they_are_where_nothing_marks_pieces():
    assert left(dictionary("a", "b", "@@", "##"), "a a @@ @@ ## b b a") == "a @@ ## b a"


class Given:
    """A session whose chain predicts given tokens, one row each."""

    passes = 0

    def __init__(self, rows, types):
        self.rows, self.types, self.at = rows, types, 0

    def start_chain(self, start):
        pass

    def grow_chain(self, size):
        wanted = self.rows[:, self.at : self.at + size]
        self.at += size
        self.passes += 1
        logits = torch.nn.functional.one_hot(wanted, self.types) * 10.0
        return logits, logits.logsumexp(-1, keepdim=True)

    def select(self, order):
        self.rows = self.rows[order]


def generate(dictionary, texts, chunk, limits, collapse):
    rows = torch.tensor([[dictionary.index(symbol) for symbol in text.split()] for text in texts])
    session = Given(rows, len(dictionary))

    def mode(session, state):
        return nar(session, state, chunk, collapse_repeats=collapse)

    generator = BlockGenerator([], dictionary, mode, limits, collapse_repeats=collapse)
    state = DecodingState(dictionary, limits, torch.full((len(texts),), rows.size(1) - 1))
    found = generator._write({}, session, state)
    return [" ".join(dictionary.symbols[token] for token in hypothesis[0].tokens) for hypothesis in found]


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_end_symbols_before_the_first_token_are_passed_over(bert, chunk):
    texts = ["[SEP] a a b [SEP] to to", "a [SEP] b b b b b", "[SEP] [SEP] [SEP] to [SEP] a b", "[SEP] " * 7]
    collapsed = generate(bert, texts, chunk, Limits(), collapse=True)
    assert collapsed == ["a b [SEP]", "a [SEP]", "to [SEP]", "[SEP]"]
    # without it the first token is never an end symbol, by --min-len 1: another one stands there
    plain = generate(bert, texts[:2], chunk, Limits(), collapse=False)
    assert plain[1] == "a [SEP]" and plain[0].split()[1:] == ["a", "a", "b", "[SEP]"]
    assert generate(bert, texts[:1], chunk, Limits(min_len=0), collapse=False) == ["[SEP]"]


def test_a_longer_least_length_still_holds(bert):
    (found,) = generate(bert, ["[SEP] [SEP] a b [SEP] a b"], 8, Limits(min_len=3), collapse=True)
    assert found.split()[-3:] == ["a", "b", "[SEP]"] and len(found.split()) > 3
