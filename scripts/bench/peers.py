"""``peers``: our five modes against fairseq's Transformer, CTranslate2 and fairseq's one-pass model.

Three of ours write in onnxruntime too, from exported graphs. All have bang_base's dimensions and random weights;
every one writes exactly the asked number of tokens. Random weights say nothing about quality, only about work; where
the work depends on what a model is sure of, that is prescribed and part of the contestant's name.
"""

import copy
import time
from functools import partial

import torch
from fairseq import checkpoint_utils, utils
from torch.profiler import ProfilerActivity, profile

from bang_plugin.errors import BangError
from bang_plugin.models.inference import QUANTIZE, compile_for_inference, pack_for_inference
from scripts.measure import stopwatch

from . import models
from .contestants import bang_contestants, ctranslate2_transformer, fairseq_nat, fairseq_transformer, release
from .machine import add_device_arguments, describe, matmul_rate
from .onnx_graphs import onnxruntime_graphs
from .output import Output
from .timing import add_round_arguments, interleave

REFERENCE = "bang ar, beam 4"
PROFILED = ("nar", "ar, greedy")  # of ours, in every precision
MATMULS = ("mm", "addmm", "bmm", "baddbmm", "_linear_pointwise", "linear_dynamic")


def add_arguments(parser) -> None:
    add_round_arguments(parser)
    add_device_arguments(parser, "where to write", "of everybody's weights")
    parser.add_argument("--checkpoint", help="time this BANG checkpoint instead of random weights (needs --data)")
    parser.add_argument("--data", help="its binarised data, for the dictionary")
    parser.add_argument("--sources", type=int, nargs="+", default=[128, 400], help="source tokens")
    parser.add_argument("--outputs", type=int, nargs="+", default=[12, 26], help="output tokens")
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=[8, 32], help="tried for throughput")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="time the processor's work instead of the clock, where other work goes on; with --threads 1, since "
        "threads that wait for others count",
    )
    parser.add_argument("--block-size", type=int, default=4, help="of the block modes")
    parser.add_argument("--kept", type=int, default=2, help="tokens that confident and speculative keep per pass")
    parser.add_argument("--quantize", nargs="+", choices=QUANTIZE[1:], default=[], help="ours in these precisions too")
    parser.add_argument("--compile", action="store_true", help="ours with compiled layers too")
    parser.add_argument("--no-packing", action="store_true", help="leave our linear layers to torch, to see the gain")
    parser.add_argument(
        "--release",
        nargs=2,
        metavar=("PYTHON", "FOLDER"),
        help="the official release too, see release.py",
    )
    parser.add_argument("--only", nargs="+", default=[], help="only contestants whose name holds one of these")
    parser.add_argument("--without", nargs="+", default=[], help="no contestants whose name holds one of these")


def contestants(args) -> tuple:
    """The dictionary of the sources, and everybody who was asked for by name."""
    size = models.QUICK if args.quick else models.BASE
    positions = max(*args.sources, *args.outputs, 8)
    if args.checkpoint:
        (ours,), _, task = checkpoint_utils.load_model_ensemble_and_task(
            [args.checkpoint], arg_overrides={"data": args.data}
        )
        dictionary = task.source_dictionary
        size = models.Size(*(ours.cfg[f"encoder_{key}"] for key in models.CONFIG_NAMES), len(dictionary))
    else:
        dictionary = models.make_dictionary(size)
        ours = models.bang(size, dictionary, args.block_size, positions)

    def placed(model):
        return model.to(args.device, getattr(torch, args.dtype)).eval()

    found = {}
    for kind in ["", *args.quantize, *["compiled"] * args.compile]:
        model = placed(copy.deepcopy(ours))
        if kind == "compiled":
            compile_for_inference(model)
        elif kind or not args.no_packing:
            pack_for_inference(model, kind or "none")
        for name, one in bang_contestants(model, dictionary, args.block_size, args.kept, positions).items():
            found[name.replace("bang", f"bang {kind}") if kind else name] = one
    exported = not args.only or any(part.startswith("onnxruntime") for part in args.only)
    if exported and "onnxruntime" not in args.without and (args.device, args.dtype) == ("cpu", "float32"):
        found |= onnxruntime_graphs(copy.deepcopy(ours), dictionary, args.block_size, args.kept)
    transformer = models.transformer(size, dictionary, positions).eval()
    if "ctranslate2" not in args.without:
        found |= ctranslate2_transformer(transformer, size, dictionary, args.device, args.dtype)
    found |= fairseq_transformer(placed(transformer), dictionary)
    found |= fairseq_nat(placed(models.nonautoregressive_transformer(size, dictionary, positions)), dictionary)
    if args.release:
        found |= release(*args.release, dictionary, positions)
    wanted = {
        name: one
        for name, one in found.items()
        if not any(part in name for part in args.without)
        and (not args.only or name == REFERENCE or any(part in name for part in args.only))
    }
    return dictionary, wanted


def run(args) -> Output:
    """Compare, print and save.

    Raises:
        BangError: if more is to be kept than is drafted, or a GPU's time asked of the processor.
    """
    if args.processor_time and args.device != "cpu":
        raise BangError("--processor-time needs --device cpu")
    if args.kept > args.block_size:
        raise BangError(f"--kept {args.kept} is more than --block-size {args.block_size}")
    if args.quick:
        args.sources, args.outputs, args.rounds = [7], [5], 1
        args.batch_sizes = args.batch_sizes and [2]
    dictionary, wanted = contestants(args)
    out = Output(args.folder, "peers", describe(args.device), {**vars(args), "folder": str(args.folder)})
    rate = matmul_rate(args.device, getattr(torch, args.dtype), 256 if args.quick else 2048)
    out.fact("matmul rate of this machine (GFLOP/s)", rate / 1e9)
    everything = []
    for source in args.sources:
        for length in args.outputs:
            rows = compare(wanted, dictionary, source, length, args)
            out.table(f"{source} source tokens, {length} output tokens", rows)
            everything += [{"source": source, "output": length, **row} for row in rows]
    losing = where_nar_does_not_pay(everything)
    if losing:
        out.table("Where NAR does not pay: settings and peers that it beats by less than 2 times", losing)
    for name in wanted if args.device == "cpu" else ():
        if name.startswith("bang") and name.endswith(PROFILED):
            source, length = args.sources[0], args.outputs[-1]
            shares, total = profiled(partial(wanted[name].write, sources(dictionary, 1, source, args), length))
            out.table(f"{name}, batch 1, {source} -> {length} tokens: where the time goes", shares)
            out.fact(f"{name}: share of time inside matrix products", total)
    out.save(partial(_draw, everything))
    return out


def compare(wanted: dict, dictionary, source: int, length: int, args) -> list[dict]:
    """Batch 1 and the best batch of one setting; ratios are times over that of our beam-4 AR."""
    single = _timed(wanted, sources(dictionary, 1, source, args), length, args.rounds, args)
    speeds = {name: {} for name in wanted}
    for batch in args.batch_sizes:
        still = {name: one for name, one in wanted.items() if not _slower(speeds[name])}
        timings, _ = _timed(still, sources(dictionary, batch, source, args), length, max(args.rounds // 3, 1), args)
        for name, timing in timings.items():
            speeds[name][batch] = batch / timing.median
    timings, encoding = single
    rows = []
    for name in wanted:
        total, encoder = timings[name].median, encoding[name]
        rows.append(
            {
                "contestant": name,
                "ms, batch 1": 1000 * total,
                "± %": 100 * timings[name].spread,
                **({"first run, s": timings[name].first} if args.compile else {}),
                "encoder ms": 1000 * encoder if encoder else "",
                "decoder ms": 1000 * (total - encoder) if encoder else "",
                "x our beam 4": timings[REFERENCE].median / total,
            }
        )
        if speeds[name]:
            best = max(speeds[name], key=speeds[name].get)
            ratio = speeds[name][best] / max(speeds[REFERENCE].values())
            rows[-1].update({"sentences / s": speeds[name][best], "at batch": best, "x its throughput": ratio})
    return rows


def sources(dictionary, batch: int, length: int, args) -> dict:
    """A batch where the models are."""
    return utils.apply_to_sample(lambda t: t.to(args.device), models.sources(dictionary, batch, length))


def _slower(speeds: dict) -> bool:
    """Whether the last batch size tried was slower than one before it."""
    return bool(speeds) and list(speeds.values())[-1] < max(speeds.values())


def _timed(wanted: dict, sample: dict, length: int, rounds: int, args) -> tuple[dict, dict]:
    """Timings of one batch, and the median seconds of the encoder's part (None where it cannot be seen)."""
    encoding = {name: [] for name in wanted}
    clock = time.process_time if args.processor_time else time.perf_counter

    def once(name):
        one = wanted[name]
        if one.encoder is None:
            return one.write(sample, length)
        with stopwatch(one.encoder, args.device, clock) as seconds:
            one.write(sample, length)
        encoding[name] += seconds

    label = f"batch of {len(sample['id'])}"
    timings = interleave({n: partial(once, n) for n in wanted}, rounds, args.device, label, args.seconds, clock)
    middle = {name: sorted(found[1:])[len(found[1:]) // 2] if found[1:] else None for name, found in encoding.items()}
    return timings, middle


def where_nar_does_not_pay(rows: list[dict]) -> list[dict]:
    """All settings in which some left-to-right contestant comes near NAR or ahead of it."""
    losing = []
    for nar in (row for row in rows if row["contestant"] == "bang nar"):
        for row in rows:
            same = (row["source"], row["output"]) == (nar["source"], nar["output"])
            if not same or "greedy" not in row["contestant"] and "beam" not in row["contestant"]:
                continue
            gains = {"batch 1": row["ms, batch 1"] / nar["ms, batch 1"]}
            if "at batch" in row:
                batches = f"batches of {nar['at batch']} and {row['at batch']}"
                gains[batches] = nar["sentences / s"] / row["sentences / s"]
            for where, gain in gains.items():
                if gain < 2:
                    setting = {"source": nar["source"], "output": nar["output"], "where": where}
                    losing.append({**setting, "peer": row["contestant"], "NAR's gain over it": gain})
    return sorted(losing, key=lambda row: row["NAR's gain over it"])


def profiled(write, repeats: int = 5) -> tuple[list[dict], float]:
    """Operators by their share of the time, and the share of matrix products (fused attention included)."""
    write()
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(repeats):
            write()
    events = [e for e in found.key_averages() if e.self_cpu_time_total > 0]
    total = sum(e.self_cpu_time_total for e in events)
    matmul = sum(e.self_cpu_time_total for e in events if _is_matmul(e.key))
    events.sort(key=lambda e: -e.self_cpu_time_total)
    rows = [
        {
            "operator": e.key,
            "calls": e.count // repeats,
            "ms": e.self_cpu_time_total / repeats / 1000,
            "share": e.self_cpu_time_total / total,
            "matrix product": "yes" if _is_matmul(e.key) else "",
        }
        for e in events[:12]
    ]
    return rows, matmul / total


def _is_matmul(name: str) -> bool:
    name = name.rpartition("::")[2]
    return name in MATMULS or name.startswith("_scaled_dot_product")


def _draw(rows: list[dict], figure) -> None:
    """Time at batch 1 and throughput, one group of bars per setting."""
    left, right = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    settings = list(dict.fromkeys((row["source"], row["output"]) for row in rows))
    height = 0.8 / len(settings)
    for k, setting in enumerate(settings):
        found = {row["contestant"]: row for row in rows if (row["source"], row["output"]) == setting}
        place = [i + k * height for i in range(len(names))]
        label = f"{setting[0]} -> {setting[1]} tokens"
        left.barh(place, [found[name]["ms, batch 1"] for name in names], height, label=label)
        if "sentences / s" in rows[0]:
            right.barh(place, [found[name]["sentences / s"] for name in names], height, label=label)
    left.set_yticks([i + 0.4 - height / 2 for i in range(len(names))], names, fontsize=8)
    left.invert_yaxis()
    left.set(xlabel="ms per sentence, batch 1", xscale="log")
    left.legend(fontsize=8, ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    if "sentences / s" in rows[0]:
        right.set(xlabel="sentences per second, best batch", xscale="log")
