"""ROUGE in the three ways that papers use; their numbers differ by points and must not be mixed.

- ``rouge``: package rouge-score with its defaults: words as they are, ROUGE-L over the whole text.
- ``rouge-155``: what ROUGE-1.5.5 with ``-m -n 2 -a`` gives and summarisation papers (XSum) report: Porter stems
  and the union ROUGE-L over sentences, which " ." ends as in files2rouge. On one-sentence summaries it is higher by
  the stems alone (26 of XSum: 0.9 ROUGE-1, 0.2 ROUGE-2, 0.8 ROUGE-L); with two sentences each, the union adds
  1.6 to ROUGE-L. The Perl program was within 0.2 of it there.
  It is what GLGE's ``files2rouge`` gives for XSum, whose outputs and references it reads as they are.
- ``rouge-coco``: ROUGE-L of the COCO caption code, which the SQuAD question-generation script uses: words as they
  are, recall weighed 1.44 times, best precision and best recall over the references taken apart.
"""

from importlib.metadata import version

import nltk
from nltk.metrics.distance import edit_distance
from rouge_score.rouge_scorer import RougeScorer

from ..errors import BangError
from .base import Number, Options, Signature, mean, progress

BETA = 1.2


def rouge(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """ROUGE-1, -2 and -L: F1 of the best reference, mean over sentences, no stemming."""
    types = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}
    return best_f1(types, False, {"stem": "no", "split": "no"}, hypotheses, references)


def rouge_155(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """ROUGE-1, -2 and -L the way of ROUGE-1.5.5: stemmed, ROUGE-L as a union over sentences.

    Two things of the original are missing: WordNet's table of irregular forms beside the stemmer, and its mean over
    several references, for which the best one stands here.
    """
    types = {"rouge1": "rouge155_1", "rouge2": "rouge155_2", "rougeLsum": "rouge155_l"}
    hypotheses = [sentences(text) for text in hypotheses]
    references = [[sentences(text) for text in alternatives] for alternatives in references]
    return best_f1(types, True, {"stem": "porter", "split": "period"}, hypotheses, references)


def sentences(text: str) -> str:
    """A line per sentence, for rouge-score; a full stop that is a token of its own ends one."""
    return text.replace(" .", " .\n")


def best_f1(
    types: dict[str, str], stem: bool, how: dict[str, str], hypotheses: list[str], references: list[list[str]]
) -> list[Number]:
    """Mean F1 of rouge-score's ``types``, which map its names to ours."""
    scorer = RougeScorer(list(types), use_stemmer=stem)
    values: dict[str, list[float]] = {kind: [] for kind in types}
    for hypothesis, alternatives in progress(hypotheses, references, "ROUGE"):
        found = scorer.score_multi(alternatives, hypothesis)
        for kind in types:
            values[kind].append(found[kind].fmeasure)
    how = {"rouge-score": version("rouge-score"), "tok": "a-z0-9", "case": "lc", **how, "agg": "mean-best-f1"}
    return [mean(Signature(name, **how), values[kind]) for kind, name in types.items()]


def rouge_coco(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """ROUGE-L of the COCO caption code, mean over sentences.

    Raises:
        BangError: if a text is longer than nltk compares.
    """
    pairs = progress(hypotheses, references, "ROUGE-L")
    values = [f_measure(text.split(), [other.split() for other in alternatives]) for text, alternatives in pairs]
    how = {"nltk": nltk.__version__, "tok": "split", "case": options.case, "beta": BETA, "agg": "mean"}
    return [mean(Signature("rouge_coco_l", **how), values)]


def f_measure(tokens: list[str], references: list[list[str]]) -> float:
    """F of the longest common subsequence, precision and recall each from its best reference."""
    common = [longest_common(tokens, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(tokens)
    recall = max(length / len(reference) for length, reference in zip(common, references) if reference)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(left: list[str], right: list[str]) -> int:
    """Length of the longest common subsequence: what deletions and insertions alone leave of both."""
    try:
        return (len(left) + len(right) - edit_distance(left, right, substitution_cost=2)) // 2
    except ValueError as error:
        raise BangError(f"texts of {len(left)} and {len(right)} tokens are too long to compare") from error
