"""Score generated text, and say for every number how it was computed.

    bang evaluate outputs.txt --references test.tgt --metrics bleu rouge --confidence-intervals

The hypotheses are one per line, or what fairseq-generate printed. Metrics:

    bleu           BLEU-1 to -4 over the corpus (sacrebleu; --tokenize, --lowercase)
    chrf           chrF over the corpus (sacrebleu's default: characters, up to 6-grams)
    glge-bleu      mean smoothed sentence BLEU-1, -2 as published for PersonaChat (nltk up to 3.5)
    sentence-bleu  the same with the smoothing of the nltk that is installed
    rouge          ROUGE-1, -2, -L (rouge-score: not stemmed)
    rouge-155      ROUGE-1, -2, -L the way of ROUGE-1.5.5, as published for XSum (stemmed, split into sentences)
    rouge-coco     ROUGE-L of the COCO caption code, as published for SQuAD question generation
    meteor         METEOR (nltk; with --meteor-jar version 1.5, as published for SQuAD)
    distinct       Distinct-1 to -4
    per            phoneme error rate: token edits over reference tokens
    wer            share of lines that equal no reference: word error rate where a line spells a word
    exact          share of lines that equal a reference
    em             the same as SQuAD counts it, in lower case, without punctuation and articles
    f1             F1 of words, as SQuAD counts it

The rules of published scripts: SQuAD `--metrics rouge-coco bleu meteor --mend squad --lowercase --tokenize none
--sources FILE`, XSum `--metrics rouge-155`, PersonaChat `--metrics glge-bleu distinct`, each with the references as the
data have them; docs/evaluation.md says more.
"""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evaluation import Number, Options, Score, count, pool, scores
from ..evaluation.files import read_hypotheses, read_lines, read_references, same_length, write_whole
from ..evaluation.mending import MENDING
from ..evaluation.significance import Bootstrap, Comparison, correct, paired_test
from ..evaluation.tables import print_table


def table(found: dict[str, Score], comparisons: dict[str, Comparison]) -> list[dict[str, Any]]:
    """A row per number, with the columns that were asked for."""
    intervals = any(score.interval for score in found.values())
    rows = []
    for name, score in found.items():
        row: dict[str, Any] = {"metric": name, "score": score.value}
        if intervals:
            low, high = score.interval or ("", "")
            row |= {"from": low, "to (95 %)": high}
        if comparison := comparisons.get(name):
            row |= {"baseline": comparison.baseline, "difference": comparison.difference}
            row["p"] = "" if comparison.p is None else f"{comparison.p:.4f}"
            if len(comparisons) > 1:
                row["p (Holm)"] = "" if comparison.corrected is None else f"{comparison.corrected:.4f}"
        rows.append(row)
    return rows


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
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
    parser.add_argument(
        "--mend",
        metavar="SCRIPT",
        help=f"bring the hypotheses' tokenisation near to treebanks' as a published script does: {', '.join(MENDING)}",
    )
    parser.add_argument("--lowercase", action="store_true", help="compare lowercased texts")
    parser.add_argument("--meteor-jar", type=Path, metavar="FILE", help="meteor-1.5.jar, its data folder beside it")
    parser.add_argument("--confidence-intervals", action="store_true", help="95 %% intervals by bootstrap")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="hypotheses to test against, paired bootstrap")
    parser.add_argument("--bootstrap-samples", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=12345, help="of the bootstrap")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores here too")


def run(args: Namespace) -> None:
    """Read, score, print and write what the command line asks for.

    Raises:
        BangError: for anything that the user can mend.
    """
    references = read_references(args.references, args.tab_references)
    sources = read_lines(args.sources) if args.sources else None
    how: dict[str, object] = {}
    if sources:
        same_length(args.sources, sources, args.references[0], references)
        how["group"] = "source[last]"
    options = Options(args.tokenize, args.lowercase, args.mend, args.meteor_jar)
    bootstrap = Bootstrap(args.bootstrap_samples, args.seed)

    def numbers(path: Path) -> tuple[dict[str, Number], list[list[str]]]:
        texts, scored = read_hypotheses(path), references
        same_length(path, texts, args.references[0], references)
        if sources:
            texts, scored = pool(sources, texts, references, options)
        return count(texts, scored, args.metrics, options), scored

    system, scored = numbers(args.hypotheses)
    counts = {len(alternatives) for alternatives in scored}
    how["refs"] = counts.pop() if len(counts) == 1 else "var"
    found = scores(system, bootstrap if args.confidence_intervals else None, **how)
    comparisons: dict[str, Comparison] = {}
    if args.baseline:
        other, _ = numbers(args.baseline)
        comparisons = correct({name: paired_test(system[name], other[name], bootstrap) for name in system})

    pooled = f", pooled from {len(references)} lines by their sources" if sources else ""
    print(f"{args.hypotheses}: {len(scored)} sentences{pooled}")
    print_table(table(found, comparisons))
    print("\n" + "\n".join(score.signature for score in found.values()))
    if args.baseline:
        print(f"p: paired bootstrap against {args.baseline}, {bootstrap.samples} samples, seed {bootstrap.seed}")
        if len(comparisons) > 1:
            print("p (Holm): corrected for the number of tests in this table")
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
