"""The dial from exact greedy AR to one pass: quality of every setting against decoder passes and time.

    python -m scripts.dial measure demo/checkpoint_last.pt demo/data --references demo/raw/test.refs --metric wer \\
        --title "Spelling to phonemes" --output docs/results/dial_spelling.json
    python -m scripts.dial plot docs/results/dial_*.json --output docs/dial.png

Passes and quality are those of all sentences. Time is the processor's, of one thread and for sentences written one at a
time, all settings in turn, so that other work on the machine does not count.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from bang_plugin.evaluation import evaluate
from bang_plugin.evaluation.files import write_whole
from bang_plugin.evaluation.tables import print_table
from scripts.measure import Mode, Workbench, add_judging_options, spread, warnings_only, write_record

GREEDY = "greedy AR"
COSTS = {"passes": "decoder passes per sentence", "ms": "ms per sentence, batch 1, processor time"}


def modes(args) -> list[Mode]:
    """Greedy AR, NAR, and between them every block size with every tolerance, verified or not."""
    limits = {"beam": 1, "max_len_a": args.max_len_a, "max_len_b": args.max_len_b}
    found = [Mode(GREEDY, {"decoding": "ar"}, limits), Mode("NAR", {"decoding": "nar"}, limits)]
    found += [Mode(f"semi-NAR, K={k}", {"decoding": "semi_nar", "block_size": k}, limits) for k in args.whole_blocks]
    for k in args.block_sizes:
        dials = (("adaptive", "tolerance", "t", args.tolerance), ("confident", "confidence", "p", args.confidence))
        for decoding, option, letter, values in dials:
            for value in values:
                options = {"decoding": decoding, "block_size": k, option: value}
                found.append(Mode(f"{decoding} K={k}, {letter}={value:g}", options, limits))
    return found


def seconds_alone(bench: Workbench, generators: list, count: int) -> list[list[float]]:
    """Processor time of single sentences spread over the split, all generators in turn."""
    seconds: list[list[float]] = [[] for _ in generators]
    for single in bench.alone(count):
        for k, generator in enumerate(generators):
            start = time.process_time()
            bench.task.inference_step(generator, bench.models, single)
            seconds[k].append(time.process_time() - start)
    return [one[1:] for one in seconds]  # the first sentence warmed up


def measure(bench: Workbench, compared: list[Mode], references: list, args) -> list[dict]:
    """A row for each mode."""
    alone = seconds_alone(bench, [bench.generator(mode) for mode in compared], args.alone)
    batches, texts, rows = bench.batches(args.batch_size), {}, []
    for mode, seconds in zip(tqdm(compared, desc="all sentences", unit="mode", leave=False), alone):
        written = bench.write(bench.generator(mode), batches)
        texts[mode.name] = bench.texts(written, args.sentencepiece_model)
        name, score = list(evaluate(texts[mode.name], references, [args.metric]).items())[-1]  # BLEU-4, the last
        rows.append(
            {
                "decoding": mode.name,
                name: score.value,
                "passes": bench.mean_passes(written),
                "ms": 1000 * median(seconds),
                "spread": spread(seconds),
                "tokens": sum(len(h["tokens"]) for h in written.values()) / bench.size,
                "as greedy AR": sum(map(str.__eq__, texts[mode.name], texts[GREEDY])) / bench.size,
            }
        )
    return rows


def run(args) -> None:
    started = time.time()
    warnings_only()
    torch.manual_seed(args.seed)
    bench = Workbench(str(args.checkpoint), str(args.data), args.split, args.sentences)
    references = [line.split("\t") for line in args.references.read_text(encoding="utf-8").splitlines()][: bench.size]
    rows = measure(bench, modes(args), references, args)
    print_table(rows)
    write_record(args, "scripts.dial", started, bench.size, list(rows[0])[1], rows, timed=args.alone)


def family(row: dict) -> str:
    return row["decoding"].split(",")[0]


def plot(records: list[dict], path: Path) -> None:
    """A line of plots for each task: quality against passes and against time, a curve for each kind of setting."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(len(records), 2, figsize=(12, 4.5 * len(records)), squeeze=False, sharey="row")
    for record, line in zip(records, grid):
        rows = record["rows"]
        quality = record["quality"]
        for axes, cost, label in zip(line, COSTS, COSTS.values()):
            for k, name in enumerate(dict.fromkeys(map(family, rows))):
                chosen = sorted((row for row in rows if family(row) == name), key=lambda row: row[cost])
                axes.plot(
                    [row[cost] for row in chosen], [row[quality] for row in chosen], "o-", color=f"C{k}", label=name
                )
                for row in chosen:
                    short = row["decoding"].partition(", ")[2]
                    place = (row[cost], row[quality])
                    axes.annotate(short, place, fontsize=7, xytext=(3, 3), textcoords="offset points")
            axes.set(xlabel=label, title=record["title"])
            axes.grid(alpha=0.3)
        line[0].set_ylabel(quality.replace("_", " ") + " (%)")
    grid[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)


def draw(args) -> None:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in args.records]
    write_whole(args.output, lambda part: plot(records, part))


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = main.add_subparsers(dest="step", required=True)
    step = steps.add_parser("measure", help="write the test sentences with every setting")
    add_judging_options(step)
    step.add_argument("--alone", type=int, default=100, help="about so many sentences are timed")
    step.add_argument("--block-sizes", type=int, nargs="+", default=[4, 6])
    step.add_argument("--whole-blocks", type=int, nargs="+", default=[2, 3, 4, 6], help="block sizes of semi-NAR")
    step.add_argument("--tolerance", type=float, nargs="+", default=[0, 0.5, 1, 1.5, 2, 3])
    step.add_argument("--confidence", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.9])
    step.set_defaults(run=run)
    step = steps.add_parser("plot", help="draw recorded runs")
    step.add_argument("records", type=Path, nargs="+", help="JSON files, one for each task")
    step.add_argument("--output", type=Path, required=True, help="PNG")
    step.set_defaults(run=draw)
    return main


def main(arguments: list[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    main()
