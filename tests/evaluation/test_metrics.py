"""Every metric against hand-computed values, brute force and other programs' numbers."""

import math
import os
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from bang_plugin.errors import BangError
from bang_plugin.evaluation import Options, evaluate
from bang_plugin.evaluation.error_rate import nearest
from bang_plugin.evaluation.meteor import MeteorProgram
from bang_plugin.evaluation.rouge import longest_common
from bang_plugin.evaluation.significance import Bootstrap

# the example of sacrebleu's README
SYSTEM = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]
# answers with their references, and mean BLEU-1 and -2 that GLGE's script gives for them with nltk 3.5
ANSWERS = [
    ("i like to play tennis with my dog .", "i love to play with my two dogs ."),
    ("what do you do for a living ?", "what do you do for fun ?"),
    ("hello", "hello"),
    ("no match here at all", "yes ."),
]
NLTK_3_5 = (47.123016, 38.715801)
# summaries with their references, and the mean F that ROUGE-1.5.5.pl -m -n 2 -a gives for them
SUMMARIES = [
    (
        "the city council has approved plans for two new bridges over the river .",
        "plans to build a new bridge across the river were approved by councillors on monday .",
    ),
    (
        "heavy rains flooded hundreds of homes . trains were cancelled for a second day .",
        "trains were cancelled and hundreds of homes flooded . the heavy rain will continue .",
    ),
    (
        "a team of climbers reached the summit of the mountain in record time , officials said .",
        "climbers have reached the mountain 's summit faster than any team before .",
    ),
    (
        "the museum 's opening was delayed again . builders say it needs more funding .",
        "the opening of a museum has been delayed because its builder needs funds . it was to open in may .",
    ),
    (
        "farmers are asking ministers for help after the driest spring in 40 years .",
        "ministers have been asked to help farms as crops fail in one of the driest springs on record .",
    ),
]
PERL = {"1": 51.589, "2": 17.369, "l": 41.828}
LETTERS = st.lists(st.sampled_from("abc"), max_size=6)


def value(metric, number, hypotheses, references, **options):
    return evaluate(hypotheses, references, [metric], Options(**options))[number].value


# chrF


def test_chrf_is_sacrebleus():
    """Of "abc" in "abd": 2 of 3 characters, 1 of 2 pairs, no triple; orders that both lack do not count."""
    by_hand = 100 * (2 / 3 + 1 / 2 + 0) / 3  # precision and recall alike, and so their F
    assert value("chrf", "chrf", ["abc"], [["ab d"]]) == pytest.approx(by_hand)
    streams = [list(stream) for stream in zip(*REFERENCES)]
    found = evaluate(SYSTEM, REFERENCES, ["chrf"])["chrf"]
    assert found.value == pytest.approx(CHRF().corpus_score(SYSTEM, streams).score)
    assert found.signature.endswith("|nc:6|nw:0|space:no|case:mixed|eff:yes")
    lower = value("chrf", "chrf", ["ABC"], [["abc"]], lowercase=True)
    assert lower == pytest.approx(100) and value("chrf", "chrf", ["ABC"], [["abc"]]) == 0


def test_chrf_intervals_draw_sentences():
    score = evaluate(SYSTEM, REFERENCES, ["chrf"], bootstrap=Bootstrap(200, 1))["chrf"]
    low, high = score.interval
    assert low < score.value < high


# BLEU


def test_bleu_is_sacrebleus_with_several_references():
    found = evaluate(SYSTEM, REFERENCES, ["bleu"])
    assert found["bleu_4"].value == pytest.approx(48.530827, abs=1e-6)  # as its README says
    columns = list(zip(*REFERENCES))
    for n in (1, 2, 3):
        assert found[f"bleu_{n}"].value == pytest.approx(BLEU(max_ngram_order=n).corpus_score(SYSTEM, columns).score)


def test_bleu_by_hand():
    one = evaluate(["the cat sat on the mat"], [["the cat is on the mat"]], ["bleu"])
    assert one["bleu_1"].value == pytest.approx(100 * 5 / 6)
    assert one["bleu_2"].value == pytest.approx(100 * math.sqrt(5 / 6 * 3 / 5))
    assert value("bleu", "bleu_1", ["a b"], [["a b c d"]]) == pytest.approx(100 * math.exp(1 - 4 / 2))


def test_bleu_takes_sentences_with_different_numbers_of_references():
    texts = ["a b c d e f", "b c d e f a"]
    references = [["a b c d x f", "a b c f"], ["b c d e"]]
    expected = BLEU(tokenize="none").corpus_score(texts, [["a b c d x f", "b c d e"], ["a b c f", None]]).score
    assert value("bleu", "bleu_4", texts, references, tokenize="none") == pytest.approx(expected)


def test_tokenizer_and_case_change_bleu_and_its_signature():
    texts, references = ["A cat, a Dog"], [["a cat , a dog"]]
    assert value("bleu", "bleu_1", texts, references) < 100
    assert value("bleu", "bleu_1", texts, references, lowercase=True) == pytest.approx(100)
    assert value("bleu", "bleu_1", texts, references, lowercase=True, tokenize="none") < 100
    signature = evaluate(texts, references, ["bleu"], Options(tokenize="none", lowercase=True))["bleu_2"].signature
    assert signature.startswith("bleu_2|sacrebleu:") and "|tok:none|case:lc|" in signature


def test_smoothed_sentence_bleu_by_hand():
    hypothesis, references = ["a b c d"], [["a x c y"]]
    early = [2 / 4, (1 + 5 / math.log(4)) / 3, (2 + 5 / math.log(4)) / 2]
    late = [2 / 4, math.log(4) / (2 * 5) / 3, math.log(4) / (4 * 5) / 2]
    for name, (p1, p2, p3) in (("glge", early), ("sentence", late)):
        first = (p1 + 1 + p1 + p2) / 3
        second = (first + p2 + p3) / 3
        found = evaluate(hypothesis, references, [f"{name}-bleu"])
        assert found[f"{name}_bleu_1"].value == pytest.approx(100 * first)
        assert found[f"{name}_bleu_2"].value == pytest.approx(100 * math.sqrt(first * second))


def test_glge_bleu_is_what_its_script_gave_with_nltk_3_5():
    texts, references = zip(*ANSWERS)
    found = evaluate(list(texts), [[text] for text in references], ["glge-bleu"])
    assert found["glge_bleu_1"].value == pytest.approx(NLTK_3_5[0], abs=1e-6)
    assert found["glge_bleu_2"].value == pytest.approx(NLTK_3_5[1], abs=1e-6)


# ROUGE


def test_rouge_155_stems_and_the_package_way_does_not():
    found = evaluate(["the cats played"], [["the cat plays"]], ["rouge", "rouge-155"])
    assert [found[f"rouge_{n}"].value for n in "12l"] == pytest.approx([100 / 3, 0, 100 / 3])
    assert [found[f"rouge155_{n}"].value for n in "12l"] == pytest.approx([100, 100, 100])


def test_rouge_155_unites_sentences():
    found = evaluate(["x y . a b ."], [["a b . x y ."]], ["rouge", "rouge-155"])
    assert found["rouge_l"].value == pytest.approx(50)
    assert found["rouge155_l"].value == pytest.approx(100)
    assert "|split:period|" in found["rouge155_l"].signature


def test_rouge_takes_the_best_reference_for_each_number():
    found = evaluate(["a b c"], [["c b a", "a b x y z"]], ["rouge"])
    assert found["rouge_1"].value == pytest.approx(100)  # of the first, though nothing else of it matches
    assert found["rouge_2"].value == pytest.approx(100 * 2 / (2 / 1 + 4 / 1))  # one of 2 and of 4 bigrams
    assert found["rouge_l"].value == pytest.approx(100 * 2 / (3 / 2 + 5 / 2))  # two of 3 and of 5 words


def test_rouge_155_is_what_the_perl_program_gives():
    texts, references = zip(*SUMMARIES)
    found = evaluate(list(texts), [[text] for text in references], ["rouge-155"])
    for n, perl in PERL.items():
        assert found[f"rouge155_{n}"].value == pytest.approx(perl, abs=0.001)


def test_rouge_coco_by_hand():
    # precision 3/4 from the second reference, recall 1 from the first
    expected = 100 * (1 + 1.2**2) * 0.75 * 1 / (1 + 1.2**2 * 0.75)
    assert value("rouge-coco", "rouge_coco_l", ["a b c d"], [["a b", "a b c x y"]]) == pytest.approx(expected)
    assert value("rouge-coco", "rouge_coco_l", ["a", ""], [["b"], ["c"]]) == 0


@given(LETTERS, LETTERS)
@settings(max_examples=60, deadline=None)
def test_longest_common_subsequence_by_brute_force(left, right):
    @lru_cache(None)
    def naive(i, j):
        if i == len(left) or j == len(right):
            return 0
        if left[i] == right[j]:
            return 1 + naive(i + 1, j + 1)
        return max(naive(i + 1, j), naive(i, j + 1))

    assert longest_common(left, right) == naive(0, 0)


# METEOR


class Lexicon:
    """A WordNet in which ill and sick mean the same (nltk looks stems up in it, which these are)."""

    def ensure_loaded(self):
        pass

    def synsets(self, word):
        lemmas = [SimpleNamespace(name=lambda text=text: text) for text in ("ill", "sick")]
        return [SimpleNamespace(lemmas=lambda: lemmas)] if word in ("ill", "sick") else []


class Missing:
    def ensure_loaded(self):
        raise LookupError


def test_meteor_by_hand_and_without_wordnet(monkeypatch):
    monkeypatch.setattr("bang_plugin.evaluation.meteor.wordnet", Missing())
    whole = 100 * (1 - 0.5 / 3**3)  # all of three words match, in one chunk
    found = evaluate(["The cats sat"], [["the cat sat"]], ["meteor"])["meteor"]
    assert found.value == pytest.approx(whole)
    assert "|match:exact+stem|" in found.signature
    two_chunks = 10 * (2 / 3) * (2 / 3) / (2 / 3 + 9 * (2 / 3)) * (1 - 0.5 * (2 / 2) ** 3)
    assert value("meteor", "meteor", ["i ill am"], [["i sick am"]]) == pytest.approx(100 * two_chunks)


def test_meteor_with_wordnet_matches_synonyms(monkeypatch):
    monkeypatch.setattr("bang_plugin.evaluation.meteor.wordnet", Lexicon())
    found = evaluate(["i am ill"], [["i am sick"]], ["meteor"])["meteor"]
    assert found.value == pytest.approx(100 * (1 - 0.5 / 3**3))
    assert "|match:exact+stem+wordnet|" in found.signature


def java(folder: Path, monkeypatch, code: str) -> Path:
    """Put a ``java`` that runs ``code`` on the PATH; returns a jar for it."""
    script = folder / "java"
    script.write_text(f"#!{sys.executable}\nimport sys\n{code}")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    jar = folder / "meteor-1.5.jar"
    jar.touch()
    return jar


# words of the first reference that the hypothesis has, and all of them; EVAL answers once for each and once for all
TOY_METEOR = """
for line in sys.stdin:
    kind, *fields = [field.split() for field in line.split("|||")] if "|||" in line else [line.split()]
    if kind == ["SCORE"]:
        print(float(len(set(fields[0]) & set(fields[-1]))), float(len(fields[0])), flush=True)
    else:
        print(*[float(fields[0][0]) / float(fields[0][1])] * 2, sep="\\n", flush=True)
"""


def test_meteor_jar_scores_the_sum_of_its_counts(tmp_path, monkeypatch):
    options = Options(meteor_jar=java(tmp_path, monkeypatch, TOY_METEOR))
    texts, references = ["a b", "c ||| d"], [["a b"], ["c x y z", "c d"]]
    found = evaluate(texts, references, ["meteor"], options, Bootstrap(samples=50))["meteor15"]
    assert found.value == pytest.approx(100 * (2 + 1) / (2 + 4))
    assert found.interval == (25, 100)
    assert "|jar:meteor-1.5.jar|" in found.signature


def test_meteor_jar_that_fails_says_why(tmp_path, monkeypatch):
    jar = java(tmp_path, monkeypatch, "sys.exit('no paraphrases here\\n\\tat Aligner')")
    with pytest.raises(BangError, match="meteor-1.5.jar: no paraphrases here$"):
        MeteorProgram(jar).counts("a", ["b"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BangError, match="java"):
        MeteorProgram(jar)


# distinct, error rates, exact match


def test_distinct_by_hand():
    found = evaluate(["a b a", "a c"], [["x"], ["x"]], ["distinct"])
    assert found["distinct_1"].value == pytest.approx(100 * 3 / 5)
    assert found["distinct_2"].value == pytest.approx(100 * 3 / 3)
    assert value("distinct", "distinct_2", ["a", "b"], [["x"], ["x"]]) == 0  # no bigram written


def test_error_rates_by_hand():
    texts = ["K AE T", "D AO", "IH  T"]
    references = [["K AE T", "K AH T S"], ["D AO G", "K AE T S"], ["IH T", "AE T"]]
    found = evaluate(texts, references, ["per", "wer", "exact"])
    assert found["phoneme_error_rate"].value == pytest.approx(100 * (0 + 1 + 0) / (3 + 3 + 2))
    assert found["word_error_rate"].value == pytest.approx(100 / 3)
    assert found["exact_match"].value == pytest.approx(200 / 3)
    assert value("per", "phoneme_error_rate", ["a b c d"], [["x y"]]) == pytest.approx(200)
    assert value("exact", "exact_match", ["A"], [["a"]]) == 0
    assert value("exact", "exact_match", ["A"], [["a"]], lowercase=True) == 100


def test_answers_as_squad_counts_them():
    texts = ["The  Cat.", "a dog, big", "", "x"]
    references = [["cat", "bird"], ["the big dog", "dog"], ["an"], [""]]
    found = evaluate(texts, references, ["em", "f1"])
    assert found["em"].value == pytest.approx(100 * 2 / 4)  # articles and stops count for nothing, order does
    assert found["f1"].value == pytest.approx(100 * (1 + 1 + 1 + 0) / 4)
    assert value("f1", "f1", ["one two two"], [["two three", "four"]]) == pytest.approx(100 * 2 * 1 / 5)
    assert "tok:squad" in found["em"].signature


@given(LETTERS, st.lists(LETTERS.filter(bool), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_edit_distance_by_brute_force(tokens, references):
    def naive(left, right):
        if not left or not right:
            return len(left) + len(right)
        if left[0] == right[0]:
            return naive(left[1:], right[1:])
        return 1 + min(naive(left[1:], right), naive(left, right[1:]), naive(left[1:], right[1:]))

    edits, length = nearest(tokens, references)
    candidates = {(naive(tokens, other), len(other)) for other in references}
    assert (edits, length) in candidates
    assert edits / length == min(distance / size for distance, size in candidates)
