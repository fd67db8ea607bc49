"""BLEU: sacrebleu over the corpus, and the mean of smoothed sentence scores that dialogue papers report."""

import math
from functools import partial
from typing import Any

import nltk
import numpy as np
import sacrebleu
from nltk.translate.bleu_score import SmoothingFunction
from nltk.translate.bleu_score import sentence_bleu as nltk_sentence_bleu
from sacrebleu.metrics.bleu import BLEU

from ..errors import BangError
from .base import Number, Options, Signature, mean, progress

ORDER = 4
SMOOTHING = "exp"


def corpus_bleu(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """BLEU-1 to BLEU-4 over the corpus.

    With the tokenizer `none` they are those of the COCO caption code, by which SQuAD, Quora, ROCStories and PreDAT's
    PersonaChat are scored (nearest reference length, the shorter of two), but for an order without a single match,
    which that code leaves at next to 0.

    Raises:
        BangError: if the tokenizer is unknown or needs what is not installed.
    """
    if options.tokenize not in BLEU.TOKENIZERS:
        raise BangError(f"--tokenize {options.tokenize}: sacrebleu has {', '.join(sorted(BLEU.TOKENIZERS))}")
    try:
        # sentences are only counted here: without the effective order sacrebleu warns about scores that nobody reads
        counter = BLEU(tokenize=options.tokenize, effective_order=True)
    except (ImportError, RuntimeError) as error:
        raise BangError(f"--tokenize {options.tokenize}: {' '.join(str(error).split())}") from error
    rows = []
    for hypothesis, alternatives in progress(hypotheses, references, "BLEU"):
        counts = counter.sentence_score(hypothesis, alternatives)
        rows.append([counts.sys_len, counts.ref_len, *counts.counts, *counts.totals])
    how = {"sacrebleu": sacrebleu.__version__, "tok": options.tokenize, "case": options.case, "smooth": SMOOTHING}
    return [
        Number(Signature(f"bleu_{n}", **how), np.array(rows, dtype=float), partial(bleu_of_counts, order=n))
        for n in range(1, ORDER + 1)
    ]


def bleu_of_counts(total: np.ndarray, order: int) -> float:
    """BLEU-``order`` from the lengths of both sides, the matching and all n-grams, ``(2 + 2 * ORDER,)``."""
    hypothesis_length, reference_length, *counts = total.tolist()
    return BLEU.compute_bleu(
        correct=counts[:order],
        total=counts[ORDER : ORDER + order],
        sys_len=int(hypothesis_length),
        ref_len=int(reference_length),
        smooth_method=SMOOTHING,
        max_ngram_order=order,
    ).score


class EarlySmoothing(SmoothingFunction):
    """Chen and Cherry's smoothing as nltk computed it up to version 3.5.

    For texts of ordinary length those versions give an n-gram order without matches ``n - 1 + k / log(length)``
    matches, more than one, where later ones give it ``log(length) / (k * 2^i)``, far less.
    """

    def method4(
        self,
        p_n: list[Any],
        references: list[list[str]],
        hypothesis: list[str],
        hyp_len: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> list[float]:
        """The precisions ``p_n`` (nltk's fractions) smoothed; nltk's methods 5 to 7 build on it."""
        length = hyp_len or len(hypothesis)
        return [p if p.numerator else (n + self.k / math.log(length)) / p.denominator for n, p in enumerate(p_n)]


def sentence_bleu(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Mean sentence BLEU-1 and BLEU-2 with Chen and Cherry's smoothing 7 of the nltk that is installed."""
    how = {"nltk": nltk.__version__, "smooth": "method7"}
    return smoothed("sentence_bleu", SmoothingFunction(), how, hypotheses, references, options)


def glge_bleu(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Mean sentence BLEU-1 and BLEU-2 as GLGE's script for PersonaChat gave when its numbers were published.

    That is `personachat/eval.py` of `GLGE_baselines` in ProphetNet's repository, which compares tokens as they are, in
    their case; PreDAT's script for the same task gives corpus BLEU. The script calls nltk's smoothing 7. Later versions
    than 3.5 changed it, and the same script gives numbers today that are lower by ten points and more: those are
    `sentence_bleu`. Neither is bounded by 100.
    """
    how = {"nltk": nltk.__version__, "smooth": "method7[nltk<=3.5]"}
    return smoothed("glge_bleu", EarlySmoothing(), how, hypotheses, references, options)


def smoothed(
    name: str,
    smoothing: SmoothingFunction,
    how: dict[str, str],
    hypotheses: list[str],
    references: list[list[str]],
    options: Options,
) -> list[Number]:
    """Mean sentence BLEU of orders 1 and 2 over tokens that blanks separate."""
    values: dict[int, list[float]] = {1: [], 2: []}
    for hypothesis, alternatives in progress(hypotheses, references, name):
        tokens = hypothesis.split()
        others = [reference.split() for reference in alternatives]
        for n in values:
            weights = [1 / n] * n + [0] * (4 - n)
            try:
                values[n].append(float(nltk_sentence_bleu(others, tokens, weights, smoothing.method7)))
            except ZeroDivisionError:  # the early smoothing of a single token; GLGE's script counts it as 0
                values[n].append(0.0)
    how = {**how, "tok": "split", "case": options.case, "agg": "mean"}
    return [mean(Signature(f"{name}_{n}", **how), values[n]) for n in values]
