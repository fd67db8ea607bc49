"""``decode``: every decoding mode of one checkpoint on one binarised test set, and the modes' quality.

With ``--arrangements`` also the two ways to arrange speculative decoding: verifying a draft and drafting the next
in one pass, as the package does, or in passes of their own.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from bang_plugin.errors import BangError
from bang_plugin.models.inference import QUANTIZE
from scripts.measure import Measurement, Mode, Workbench, measure

from .machine import add_device_argument, describe
from .output import Output
from .separate import separate_speculative
from .timing import interleave

GREEDY, BEAM = "ar, greedy", "ar, beam 4"


def add_arguments(parser) -> None:
    parser.add_argument("checkpoint", help="file that fairseq-train wrote")
    parser.add_argument("data", help="folder that fairseq-preprocess wrote")
    add_device_argument(parser, "where to write")
    parser.add_argument("--split", default="test", help="part of the data")
    parser.add_argument("--sentences", type=int, help="only the first so many")
    parser.add_argument("--references", type=Path, help="a line per sentence, several separated by tabs")
    parser.add_argument("--metrics", nargs="+", default=["bleu"], help="for the references: see bang evaluate")
    parser.add_argument("--block-sizes", type=int, nargs="+", default=[4], help="of the block modes")
    parser.add_argument("--tolerance", type=float, nargs="+", default=[1.0], help="of adaptive")
    parser.add_argument("--confidence", type=float, nargs="+", default=[], help="of confident, which is else left out")
    parser.add_argument("--nar-chunk", type=int, default=32, help="masks per pass of nar")
    parser.add_argument("--lenpen", type=float, default=1.0, help="of beam search")
    parser.add_argument("--max-len-b", type=int, default=200, help="longest output")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32, 128, 512], help="tried until slower")
    parser.add_argument("--alone", type=int, default=100, help="sentences that are timed one at a time")
    parser.add_argument("--quantize", nargs="+", choices=QUANTIZE[1:], default=[], help="compare these with float32")
    parser.add_argument("--arrangements", action="store_true", help="compare two arrangements of speculative decoding")


def modes(args) -> list[Mode]:
    """AR twice, then every mode with the settings asked for."""
    limits = {"max_len_b": args.max_len_b}
    beam = {"beam": 4, "lenpen": args.lenpen, **limits}
    found = [
        Mode(BEAM, {"decoding": "ar"}, beam),
        Mode(GREEDY, {"decoding": "ar"}, {"beam": 1, **limits}),
        Mode("nar", {"decoding": "nar", "nar_chunk": args.nar_chunk}, limits),
    ]
    for size in args.block_sizes:
        found.append(Mode(f"semi_nar, K={size}", {"decoding": "semi_nar", "block_size": size}, limits))
        for tolerance in args.tolerance:
            options = {"decoding": "adaptive", "block_size": size, "tolerance": tolerance}
            found.append(Mode(f"adaptive, K={size} t={tolerance}", options, limits))
        for confidence in args.confidence:
            options = {"decoding": "confident", "block_size": size, "confidence": confidence}
            found.append(Mode(f"confident, K={size} p={confidence}", options, limits))
        options = {"decoding": "speculative", "block_size": size}
        found.append(Mode(f"speculative, K={size}", options, {"beam": 1, **limits}))
        found.append(Mode(f"speculative, beam 4, K={size}", options, beam))
    return found


def run(args: argparse.Namespace) -> Output:
    """Compare, print and save.

    Raises:
        BangError: for precisions that only a CPU has.
    """
    if args.quantize and args.device != "cpu":
        raise BangError("--quantize needs --device cpu")
    if args.quick:
        args.alone, args.batch_sizes, args.sentences = 3, [4], 8
    bench = Workbench(args.checkpoint, args.data, args.split, args.sentences, device=args.device)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    out = Output(args.folder, "decode", describe(args.device), settings)
    results = measure(bench, modes(args), args.batch_sizes, args.alone)
    rows = table(results, quality(results, args))
    out.table(f"{bench.size} sentences of {args.data}", rows)
    by_name = {result.name: result.hypotheses for result in results}
    for result in results:
        if result.name.startswith("speculative"):
            search, name = (BEAM, "beam search") if "beam" in result.name else (GREEDY, "greedy AR")
            same = sum(a == b for a, b in zip(result.hypotheses, by_name[search]))
            out.fact(f"{result.name}: sentences equal to {name}", f"{same} of {len(result.hypotheses)}")
    if args.quantize:
        out.table("Linear layers in lower precision", lower_precision(results, args))
    if args.arrangements:
        out.table("Speculative decoding, two arrangements", arrangements(bench, args))
    out.table("The encoder alone, in batches by source length and in the order of the data", bucketing(bench, args))
    out.save(partial(_draw, rows))
    return out


@torch.no_grad()
def bucketing(bench: Workbench, args) -> list[dict]:
    """What batches of similar lengths save: the padding, and with it the encoder's time."""
    encoder, pad = bench.models[0].encoder, bench.task.source_dictionary.pad()
    rows = []
    for batch_size in args.batch_sizes:
        orders = {"by length": bench.batches(batch_size), "as it comes": bench.batches(batch_size, by_length=False)}
        inputs = {name: [batch["net_input"]["src_tokens"] for batch in batches] for name, batches in orders.items()}
        runs = {name: partial(_encode, encoder, batches) for name, batches in inputs.items()}
        timings = interleave(runs, 3, args.device, f"batches of {batch_size}")
        for name, batches in inputs.items():
            tokens = sum(batch.numel() for batch in batches)
            rows.append(
                {
                    "batch size": batch_size,
                    "order": name,
                    "padding %": 100 * (1 - sum(int(batch.ne(pad).sum()) for batch in batches) / tokens),
                    "ms per sentence": 1000 * timings[name].median / bench.size,
                    "± %": 100 * timings[name].spread,
                }
            )
    return rows


def _encode(encoder, batches: list) -> None:
    for tokens in batches:
        encoder(tokens, src_lengths=None)


def quality(results: list[Measurement], args) -> list[dict]:
    """Scores of every mode if there are references."""
    if not args.references:
        return [{} for _ in results]
    from bang_plugin.evaluation import evaluate

    references = [line.split("\t") for line in args.references.read_text().splitlines()[: args.sentences]]
    scores = [evaluate(result.hypotheses, references, args.metrics) for result in results]
    return [{name: score.value for name, score in found.items()} for found in scores]


def table(results: list[Measurement], qualities: list[dict]) -> list[dict]:
    """One row per mode; ratios say how many times as fast as AR in this run a mode is."""
    by_name = {result.name: result for result in results}
    rows = []
    for result, scores in zip(results, qualities):
        row = {
            "decoding": result.name,
            "ms, batch 1": result.ms_per_sentence,
            "± %": 100 * result.spread,
            "encoder ms": result.encoder_ms,
            "decoder ms": result.ms_per_sentence - result.encoder_ms,
            "passes": result.passes,
            "sentences / s": result.sentences_per_second,
            "throughput ± %": result.throughput_spread,
            "at batch": result.batch_size,
        }
        for name in (GREEDY, BEAM):
            other = by_name[name]
            row[f"x {name}, batch 1"] = other.ms_per_sentence / result.ms_per_sentence
            row[f"x {name}, best batch"] = result.sentences_per_second / other.sentences_per_second
        rows.append({**row, **scores})
    return rows


def lower_precision(float32: list[Measurement], args) -> list[dict]:
    """Speed, quality and agreement of every mode with float32, for every precision asked for."""
    rows = []
    for precision in args.quantize:
        bench = Workbench(args.checkpoint, args.data, args.split, args.sentences, precision)
        results = measure(bench, modes(args), args.batch_sizes, args.alone)
        for result, exact, scores in zip(results, float32, quality(results, args)):
            rows.append(
                {
                    "decoding": f"{result.name}, {precision}",
                    "ms, batch 1": result.ms_per_sentence,
                    "x float32, batch 1": exact.ms_per_sentence / result.ms_per_sentence,
                    "x float32, best batch": result.sentences_per_second / exact.sentences_per_second,
                    "tokens agreeing %": 100 * agreement(result.hypotheses, exact.hypotheses),
                    **scores,
                }
            )
    return rows


def agreement(texts: list[str], others: list[str]) -> float:
    """Share of tokens that both have at the same place."""
    pairs = [(text.split(), other.split()) for text, other in zip(texts, others)]
    equal = sum(a == b for text, other in pairs for a, b in zip(text, other))
    return equal / max(sum(max(len(text), len(other)) for text, other in pairs), 1)


class _Arrangements(Workbench):
    """The workbench with a mode ``separate`` that the package does not have."""

    def __init__(self, bench: Workbench):
        self.__dict__.update(bench.__dict__)

    def generator(self, mode: Mode):
        generator = super().generator(mode)
        if mode.name.startswith("separate"):
            generator.mode = partial(separate_speculative, block_size=mode.task["block_size"])
        return generator


def arrangements(bench: Workbench, args) -> list[dict]:
    """The package's passes and separate ones for every block size, in one run."""
    limits = {"beam": 1, "max_len_b": args.max_len_b}
    compared = []
    for size in args.block_sizes:
        options = {"decoding": "speculative", "block_size": size}
        compared += [Mode(f"{name} passes, K={size}", options, limits) for name in ("combined", "separate")]
    results = measure(_Arrangements(bench), compared, args.batch_sizes, args.alone)
    rows = []
    for combined, separate in zip(results[::2], results[1::2]):
        for result in (combined, separate):
            rows.append(
                {
                    "arrangement": result.name,
                    "passes": result.passes,
                    "ms, batch 1": result.ms_per_sentence,
                    "± %": 100 * result.spread,
                    "sentences / s": result.sentences_per_second,
                    "throughput ± %": result.throughput_spread,
                    "at batch": result.batch_size,
                    "equal outputs": result.hypotheses == combined.hypotheses,
                }
            )
    return rows


def _draw(rows: list[dict], figure) -> None:
    """Time at batch 1, encoder and decoder apart, beside throughput."""
    left, right = figure.subplots(1, 2, sharey=True)
    names = [row["decoding"] for row in rows]
    encoder = [row["encoder ms"] for row in rows]
    left.barh(names, encoder, label="encoder")
    left.barh(names, [row["decoder ms"] for row in rows], left=encoder, label="decoder and search")
    left.set(xlabel="ms per sentence, batch 1")
    left.legend()
    right.barh(names, [row["sentences / s"] for row in rows], color="C2")
    right.set(xlabel="sentences per second, best batch")
    left.invert_yaxis()
