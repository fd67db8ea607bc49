"""From hypotheses and references to scores, intervals and pooled references."""

from dataclasses import replace

from ..errors import BangError
from .base import Number, Options, Score
from .mending import MENDING, mend
from .metrics import METRICS
from .significance import Bootstrap


def evaluate(
    hypotheses: list[str],
    references: list[list[str]],
    metrics: list[str],
    options: Options | None = None,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Score]:
    """Score hypotheses against one or several references each.

    Args:
        hypotheses: one per sentence.
        references: one or several of each sentence.
        metrics: names from ``METRICS``; one may give several numbers.
        options: how texts are compared; sacrebleu's defaults if left out.
        bootstrap: ask for 95 % intervals, drawn this way.

    Returns:
        scores in percent under the names of their numbers, ``{"bleu_1": …, "bleu_2": …}``.

    Raises:
        BangError: if a metric is unknown, there is nothing to score or the counts differ.
    """
    return scores(count(hypotheses, references, metrics, options or Options()), bootstrap)


def count(
    hypotheses: list[str], references: list[list[str]], metrics: list[str], options: Options
) -> dict[str, Number]:
    """Numbers by their names, ready to be summed or resampled; raises as ``evaluate`` does."""
    if unknown := [name for name in metrics if name not in METRICS]:
        raise BangError(f"unknown metric {', '.join(unknown)}; there are {', '.join(METRICS)}")
    if len(hypotheses) != len(references):
        raise BangError(f"{len(hypotheses)} hypotheses, but references for {len(references)} sentences")
    if not hypotheses or not all(references):
        raise BangError("nothing to score: no hypotheses, or one without a reference")
    if options.mend:
        if options.mend not in MENDING:
            raise BangError(f"--mend {options.mend}: there are {', '.join(MENDING)}")
        hypotheses = [mend(text, MENDING[options.mend]) for text in hypotheses]  # by case too, as the scripts do
    if options.lowercase:
        hypotheses = [text.lower() for text in hypotheses]
        references = [[text.lower() for text in alternatives] for alternatives in references]
    numbers = [number for name in dict.fromkeys(metrics) for number in METRICS[name](hypotheses, references, options)]
    if options.mend:
        numbers = [replace(number, signature=number.signature.extended(mend=options.mend)) for number in numbers]
    return {number.signature.metric: number for number in numbers}


def scores(numbers: dict[str, Number], bootstrap: Bootstrap | None, **how: object) -> dict[str, Score]:
    """Scores of numbers, with intervals if a bootstrap is given; ``how`` joins their signatures."""
    found = {}
    for name, number in numbers.items():
        signature = number.signature.extended(**how)
        interval = bootstrap.interval(number) if bootstrap else None
        if bootstrap and interval:
            signature = signature.extended(bs=bootstrap.samples, seed=bootstrap.seed)
        found[name] = Score(number.total(), str(signature), interval)
    return found


def pool(
    sources: list[str], hypotheses: list[str], references: list[list[str]], options: Options | None = None
) -> tuple[list[str], list[list[str]]]:
    """One sentence per distinct source: all references of its lines and the hypothesis of its last line.

    This is how the scoring scripts of SQuAD question generation and Quora count sources that several lines share;
    sources that differ in case alone are one where the options compare lowercased texts.
    """
    last: dict[str, str] = {}
    pooled: dict[str, list[str]] = {}
    for source, hypothesis, alternatives in zip(sources, hypotheses, references):
        key = source.strip().lower() if options and options.lowercase else source.strip()
        last[key] = hypothesis
        pooled.setdefault(key, []).extend(alternatives)
    return list(last.values()), list(pooled.values())
