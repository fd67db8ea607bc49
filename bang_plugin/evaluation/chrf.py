"""chrF: sacrebleu's F-score over character n-grams, of the corpus (Popović 2015)."""

import numpy as np
import sacrebleu
from sacrebleu.metrics.chrf import CHRF

from .base import Number, Options, Signature, progress


def chrf(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """chrF2 with n-grams of up to 6 characters, blanks left out, as sacrebleu has it by default."""
    counter = CHRF()
    rows = [
        # what sacrebleu sums over a corpus; its public methods give scores alone, which cannot be drawn anew
        counter._extract_corpus_statistics([hypothesis], [[text] for text in alternatives])[0]
        for hypothesis, alternatives in progress(hypotheses, references, "chrF")
    ]
    how = {"nc": counter.char_order, "nw": counter.word_order, "space": "no", "case": options.case, "eff": "yes"}
    signature = Signature("chrf", sacrebleu=sacrebleu.__version__, **how)

    def value(total: np.ndarray) -> float:
        return float(counter._compute_f_score(total.tolist()))

    return [Number(signature, np.array(rows, dtype=float), value)]
