"""Outputs mended as the published scripts do: every rule by hand, and what it does to scores."""

import math

import pytest

from bang_plugin.errors import BangError
from bang_plugin.evaluation import Options, evaluate, pool
from bang_plugin.evaluation.mending import MENDING, mend

BOTH = [
    ("i don ' t know", "i do n't know"),
    ("he can ' t", "he ca n't"),  # the n goes over
    ("it ' s what they ' d say we ' ll do", "it 's what they 'd say we 'll do"),
    ('the " big " one', "the `` big '' one"),
    ("what is . . . this", "what is ... this"),
    ("1 , 000 , 000 people", "1,000,000 people"),
    ("3 . 03 percent", "3.03 percent"),
    ("a well - known man", "a well-known man"),
    ("one - two - three", "one-two-three"),
    ("this - - that", "this -- that"),
    ("- first", "- first"),
    ("last -", "last -"),
    ("why ? - because", "why ? - because"),  # not after punctuation
    ("a - ( b", None),  # nor before it, see below
    ("the U . N . said", "the U.N. . said"),  # the script's own mistake: the last full stop comes twice
    ("U . S . A .", "U.S. . A ."),
    ("in 1999 , they", "in 1999 , they"),
    ("", ""),
]


@pytest.mark.parametrize("text, mended", BOTH)
@pytest.mark.parametrize("script", MENDING)
def test_rules_that_the_scripts_share(script, text, mended):
    if mended is None:
        mended = {"squad": "a - -lrb- b", "quora": "a - ( b"}[script]
    assert mend(text, MENDING[script]) == mended


@pytest.mark.parametrize(
    "text, squad, quora",
    [
        ("a ( b ) [ c ] { d }", "a -lrb- b -rrb- -lsb- c -rsb- -lcb- d -rcb-", "a ( b ) [ c ] { d }"),
        ("a & b < c > [UNK]", "a &amp; b &lt; c &gt; UNK", "a & b < c > [UNK]"),
        ("the ' big ' one", "the ` big ' one", "the '' big '' one"),
        ("a ` b", "a ` b", "a `` b"),
        ("1 . 2 . 3", "1.2 . 3", "1.2.3"),
        ("the u . s . army", "the u . s . army", "the u.s. . army"),
    ],
)
def test_rules_that_differ(text, squad, quora):
    assert (mend(text, MENDING["squad"]), mend(text, MENDING["quora"])) == (squad, quora)


def test_squad_scores_by_hand():
    """Two outputs in word pieces' tokens against treebank references.

    The first mended is its reference: 7 words, 6, 5 and 4 n-grams right of as many. Of the second, "who is he ?", with
    4 words, 3, 2 and 1 n-grams, "what is that he ?" has the words "is", "he" and "?" and the pair "he ?".
    BLEU-4 over 11 words against 12: matches 10/11, 7/9, 5/7 and 4/5.
    """
    outputs = ["what doesn ' t mr . smith eat", "who is he ?"]
    references = [["what does n't mr . smith eat"], ["what is that he ?"]]
    rules = Options(tokenize="none", lowercase=True, mend="squad")
    found = evaluate(outputs, references, ["bleu", "rouge-coco"], rules)
    product = (10 / 11) * (7 / 9) * (5 / 7) * (4 / 5)
    assert found["bleu_4"].value == pytest.approx(100 * math.exp(1 - 12 / 11) * product**0.25)
    # ROUGE-L: 1, and 3 of 4 words against 3 of 5 with recall weighed 1.44 times
    precision, recall = 3 / 4, 3 / 5
    f = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert found["rouge_coco_l"].value == pytest.approx(100 * (1 + f) / 2)
    assert found["bleu_4"].signature.endswith("|mend:squad")
    plain = evaluate(outputs, references, ["bleu"], Options(tokenize="none", lowercase=True))["bleu_4"]
    # "what" and "mr . smith eat" with its n-grams are left of the first: 5 + 3 of 12 words, 3 + 1 of 10, 2 + 0 of 8
    assert plain.value == pytest.approx(100 * ((8 / 12) * (4 / 10) * (2 / 8) * (1 / 6)) ** 0.25)
    assert "mend" not in plain.signature


def test_references_are_never_mended():
    """A reference in word pieces' tokens fits the output less, once that is mended; case is levelled on both sides."""
    options = Options(tokenize="none", lowercase=True, mend="squad")
    assert evaluate(["i don ' t"], [["i don ' t"]], ["exact"], options)["exact_match"].value == 0
    assert evaluate(["I don ' t"], [["i DO n't"]], ["exact"], options)["exact_match"].value == 100


def test_capitals_are_seen_before_case_is_levelled():
    options = Options(lowercase=True, mend="squad")
    assert evaluate(["the U . N . said"], [["the u.n. . said"]], ["exact"], options)["exact_match"].value == 100


def test_sources_that_differ_in_case_are_one_where_case_is_levelled():
    texts = (["A b", "a B"], ["first", "second"], [["x"], ["y"]])
    assert pool(*texts, Options(lowercase=True)) == (["second"], [["x", "y"]])
    assert pool(*texts, Options()) == (["first", "second"], [["x"], ["y"]])


def test_summaries_and_dialogues_are_compared_as_they_are():
    """XSum and PersonaChat: nothing is mended, and what the pieces lost (an accent, an apostrophe's place) is lost."""
    found = evaluate(["zoe sings"], [["Zoë sings"]], ["rouge-155"])
    assert found["rouge155_1"].value == pytest.approx(50)  # "zo" is not "zoe"
    found = evaluate(["i ' m here now ."], [["i'm here now ."]], ["bleu"], Options(tokenize="none"))
    assert found["bleu_1"].value == pytest.approx(100 * 3 / 6)  # "here", "now" and "." of six tokens


def test_unknown_scripts_are_refused():
    with pytest.raises(BangError, match="--mend coco: there are squad, quora"):
        evaluate(["a"], [["a"]], ["exact"], Options(mend="coco"))
