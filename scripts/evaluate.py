"""Score generated text, and say for every number how it was computed.

    python -m scripts.evaluate outputs.txt --references test.tgt --metrics bleu rouge --confidence-intervals

The hypotheses are one per line, or what fairseq-generate printed. Metrics:

    bleu           BLEU-1 to -4 over the corpus (sacrebleu; --tokenize, --lowercase)
    glge-bleu      mean smoothed sentence BLEU-1, -2 as published for PersonaChat (nltk up to 3.5)
    sentence-bleu  the same with the smoothing of the nltk that is installed
    rouge          ROUGE-1, -2, -L (rouge-score: not stemmed)
    rouge-155      ROUGE-1, -2, -L the way of ROUGE-1.5.5, as published for XSum (stemmed, split into sentences)
    rouge-coco     ROUGE-L of the COCO caption code, as published for SQuAD question generation
    meteor         METEOR (nltk; with --meteor-jar version 1.5, as published for SQuAD)
    distinct       Distinct-1, -2
    per            phoneme error rate: token edits over reference tokens
    wer            share of lines that equal no reference: word error rate where a line spells a word
    exact          share of lines that equal a reference
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from scripts.metrics import METRICS, EvaluationError, Number, Options, Score
from scripts.metrics.files import read_hypotheses, read_lines, read_references, same_length, write_whole
from scripts.metrics.significance import Bootstrap, Comparison, paired_test
from scripts.report import print_table


def evaluate(
    hypotheses: list[str],
    references: list[list[str]],
    metrics: list[str],
    options: Options | None = None,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Score]:
    """Score hypotheses against one or several references each.

    Args:
        metrics: names from ``METRICS``; one may give several numbers.
        options: how texts are compared; sacrebleu's defaults if left out.
        bootstrap: ask for 95 % intervals, drawn this way.

    Returns:
        scores in percent under the names of their numbers, ``{"bleu_1": …, "bleu_2": …}``.

    Raises:
        EvaluationError: if a metric is unknown, there is nothing to score or the counts differ.
    """
    return scores(count(hypotheses, references, metrics, options or Options()), bootstrap)


def count(
    hypotheses: list[str], references: list[list[str]], metrics: list[str], options: Options
) -> dict[str, Number]:
    """Numbers by their names, ready to be summed or resampled; raises as :func:`evaluate` does."""
    if unknown := [name for name in metrics if name not in METRICS]:
        raise EvaluationError(f"unknown metric {', '.join(unknown)}; there are {', '.join(METRICS)}")
    if len(hypotheses) != len(references):
        raise EvaluationError(f"{len(hypotheses)} hypotheses, but references for {len(references)} sentences")
    if not hypotheses or not all(references):
        raise EvaluationError("nothing to score: no hypotheses, or one without a reference")
    if options.lowercase:
        hypotheses = [text.lower() for text in hypotheses]
        references = [[text.lower() for text in alternatives] for alternatives in references]
    numbers = [number for name in dict.fromkeys(metrics) for number in METRICS[name](hypotheses, references, options)]
    return {number.signature.metric: number for number in numbers}


def scores(numbers: dict[str, Number], bootstrap: Bootstrap | None, **how) -> dict[str, Score]:
    """Scores of numbers, with intervals if a bootstrap is given; ``how`` joins their signatures."""
    found = {}
    for name, number in numbers.items():
        signature = number.signature.extended(**how)
        interval = bootstrap.interval(number) if bootstrap else None
        if interval:
            signature = signature.extended(bs=bootstrap.samples, seed=bootstrap.seed)
        found[name] = Score(number.total(), str(signature), interval)
    return found


def pool(sources: list[str], hypotheses: list[str], references: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """One sentence per distinct source: all references of its lines and the hypothesis of its last line.

    This is how the scoring script of SQuAD question generation counts passages that several questions ask about.
    """
    last: dict[str, str] = {}
    pooled: dict[str, list[str]] = {}
    for source, hypothesis, alternatives in zip(sources, hypotheses, references):
        last[source.strip()] = hypothesis
        pooled.setdefault(source.strip(), []).extend(alternatives)
    return list(last.values()), list(pooled.values())


def table(found: dict[str, Score], comparisons: dict[str, Comparison]) -> list[dict]:
    """A row per number, with the columns that were asked for."""
    intervals = any(score.interval for score in found.values())
    rows = []
    for name, score in found.items():
        row: dict = {"metric": name, "score": score.value}
        if intervals:
            low, high = score.interval or ("", "")
            row |= {"from": low, "to (95 %)": high}
        if comparison := comparisons.get(name):
            row |= {"baseline": comparison.baseline, "difference": comparison.difference}
            row["p"] = "" if comparison.p is None else f"{comparison.p:.4f}"
        rows.append(row)
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hypotheses", type=Path, help="text, or the output of fairseq-generate")
    parser.add_argument("--references", type=Path, nargs="+", required=True, metavar="FILE", help="one or several")
    parser.add_argument("--tab-references", action="store_true", help="several references on a line, between tabs")
    parser.add_argument(
        "--sources",
        type=Path,
        metavar="FILE",
        help="pool the references of lines with the same source; the last one's hypothesis counts, once",
    )
    parser.add_argument("--metrics", nargs="+", default=["bleu"], metavar="NAME", help="default: bleu")
    parser.add_argument("--tokenize", default="13a", help="sacrebleu's tokenizer for bleu; none if already split")
    parser.add_argument("--lowercase", action="store_true", help="compare lowercased texts")
    parser.add_argument("--meteor-jar", type=Path, metavar="FILE", help="meteor-1.5.jar, its data folder beside it")
    parser.add_argument("--confidence-intervals", action="store_true", help="95 %% intervals by bootstrap")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="hypotheses to test against, paired bootstrap")
    parser.add_argument("--bootstrap-samples", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=12345, help="of the bootstrap")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores here too")
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> None:
    """Read, score, print and write what the command line asks for.

    Raises:
        EvaluationError: for anything that the user can mend.
    """
    references = read_references(args.references, args.tab_references)
    sources = read_lines(args.sources) if args.sources else None
    how: dict = {}
    if sources:
        same_length(args.sources, sources, args.references[0], references)
        how["group"] = "source[last]"
    options = Options(args.tokenize, args.lowercase, args.meteor_jar)
    bootstrap = Bootstrap(args.bootstrap_samples, args.seed)

    def numbers(path: Path) -> tuple[dict[str, Number], list[list[str]]]:
        texts, scored = read_hypotheses(path), references
        same_length(path, texts, args.references[0], references)
        if sources:
            texts, scored = pool(sources, texts, references)
        return count(texts, scored, args.metrics, options), scored

    system, scored = numbers(args.hypotheses)
    counts = {len(alternatives) for alternatives in scored}
    how["refs"] = counts.pop() if len(counts) == 1 else "var"
    found = scores(system, bootstrap if args.confidence_intervals else None, **how)
    comparisons: dict[str, Comparison] = {}
    if args.baseline:
        other, _ = numbers(args.baseline)
        comparisons = {name: paired_test(system[name], other[name], bootstrap) for name in system}

    pooled = f", pooled from {len(references)} lines by their sources" if sources else ""
    print(f"{args.hypotheses}: {len(scored)} sentences{pooled}")
    print_table(table(found, comparisons))
    print("\n" + "\n".join(score.signature for score in found.values()))
    if args.baseline:
        print(f"p: paired bootstrap against {args.baseline}, {bootstrap.samples} samples, seed {bootstrap.seed}")
    if args.json:
        record = {
            "hypotheses": str(args.hypotheses),
            "references": list(map(str, args.references)),
            "sentences": len(scored),
            "scores": {name: asdict(score) for name, score in found.items()},
        }
        if args.baseline:
            tests = {name: asdict(comparison) for name, comparison in comparisons.items()}
            record["baseline"] = {"hypotheses": str(args.baseline), "tests": tests}
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        write_whole(args.json, lambda part: part.write_text(text, encoding="utf-8"))


def main(arguments: list[str] | None = None) -> None:
    try:
        run(parse(arguments))
    except EvaluationError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
