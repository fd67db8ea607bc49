"""What each control of the search brings in the parallel modes: quality and decoder passes of a trained model.

    python -m scripts.controls demo/checkpoint_last.pt demo/data --references demo/raw/test.refs --metric wer \\
        --output docs/results/controls_spelling.json

``p`` is the chance of a difference as large if the control brought nothing (paired bootstrap, corrected by Holm for all
rows).
"""

import argparse
import time

import torch
from tqdm import tqdm

from bang_plugin.evaluation import Number, Options, count
from bang_plugin.evaluation.files import read_references
from bang_plugin.evaluation.significance import Bootstrap, correct, paired_test
from bang_plugin.evaluation.tables import print_table
from scripts.measure import Mode, Workbench, add_judging_options, warnings_only, write_record

REPEATS = {f"no {n}-gram twice": {"no_repeat_ngram_size": n} for n in (1, 2, 3)}
SAMPLES = {"samples, top-p 0.9": {"sampling": True, "sampling_topp": 0.9}}
# decodings with their task options, and by name what is tried in each: generation options or task options
NAR = {"decoding": "nar"}
BLOCKS = {"decoding": "semi_nar", "block_size": 4}
GREEDY = {"decoding": "speculative", "block_size": 4}


def modes(args) -> list[tuple[str, Mode]]:
    """Names of the decodings, and modes by the names of the controls; of each decoding the first has none."""
    limits = {"beam": 1, "max_len_a": args.max_len_a, "max_len_b": args.max_len_b}
    collapse, judged = {"collapse_repeats": True}, {"nar_candidates": args.candidates}
    ours = {
        "repeats collapsed": collapse,
        f"{args.candidates} candidates": judged,
        f"{args.candidates} candidates, repeats collapsed": {**judged, **collapse},
    }
    best = {f"best of {args.candidates} chains": {"nbest": args.candidates}}
    tried: list[tuple[str, dict, dict, dict]] = [
        ("NAR", NAR, {**REPEATS, **best, **SAMPLES}, ours),
        ("semi-NAR, K=4", BLOCKS, {**REPEATS, **SAMPLES}, {"repeats collapsed": collapse}),
        ("greedy AR", GREEDY, REPEATS, {}),
    ]
    found = []
    for decoding, task, generation, more in tried:
        found.append((decoding, Mode("none", task, limits)))
        found += [(decoding, Mode(name, task, {**limits, **options})) for name, options in generation.items()]
        found += [(decoding, Mode(name, {**task, **options}, limits)) for name, options in more.items()]
    return found


def judge(bench: Workbench, mode: Mode, references: list, args) -> tuple[Number, dict]:
    """The quality and the cost of a mode."""
    torch.manual_seed(args.seed)
    written = bench.write(bench.generator(mode), bench.batches(args.batch_size))
    numbers = count(bench.texts(written, args.sentencepiece_model), references, [args.metric], Options())
    tokens = sum(len(hypothesis["tokens"]) for hypothesis in written.values()) / bench.size
    return list(numbers.values())[-1], {"passes": bench.mean_passes(written), "tokens": tokens}  # BLEU-4, the last


def measure(args) -> tuple[list[dict], int]:
    """A row for each control, and the number of sentences."""
    bench = Workbench(str(args.checkpoint), str(args.data), args.split, args.sentences)
    references = read_references([args.references], tab_separated=True)[: bench.size]
    numbers: dict[tuple[str, str], Number] = {}
    rows = []
    for decoding, mode in tqdm(modes(args), desc="controls", leave=False):
        number, costs = judge(bench, mode, references, args)
        numbers[decoding, mode.name] = number
        rows.append({"decoding": decoding, "control": mode.name, number.signature.metric: number.total(), **costs})
    tests = {
        f"{decoding}: {control}": paired_test(number, numbers[decoding, "none"], Bootstrap())
        for (decoding, control), number in numbers.items()
        if control != "none"
    }
    tests = correct(tests)
    for row in rows:
        test = tests.get(f"{row['decoding']}: {row['control']}")
        row["difference"], row["p"] = (test.difference, test.corrected) if test else ("", "")
    return rows, bench.size


def run(args) -> None:
    started = time.time()
    warnings_only()
    rows, sentences = measure(args)
    print_table(rows)
    write_record(args, "scripts.controls", started, sentences, list(rows[0])[2], rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_judging_options(parser)
    parser.add_argument("--candidates", type=int, default=5, help="of NAR")
    run(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
