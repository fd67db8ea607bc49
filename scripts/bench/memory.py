"""``memory``: peak memory of training and generating against batch size and length, and growth over many batches.

Every point is measured in a process of its own. What the model alone takes is told apart.
"""

import gc
from functools import partial

from . import models
from .contestants import bang_contestants
from .machine import add_device_arguments, describe, peak_bytes, reset_peak, resident_bytes
from .output import Output
from .timing import in_own_process
from .train import Steps

GENERATED = 26  # output tokens
MODES = ("bang ar, beam 4", "bang speculative, 2 of 4 kept", "bang nar")


def add_arguments(parser) -> None:
    add_device_arguments(parser, "where to train", "of training")
    parser.add_argument("--train-batches", type=int, nargs="+", default=[1, 2, 4, 8], help="samples per step")
    parser.add_argument("--train-tokens", type=int, nargs="+", default=[128, 512], help="tokens per sample")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], help="sentences written at a time")
    parser.add_argument("--sources", type=int, nargs="+", default=[128, 400], help="source tokens")
    parser.add_argument("--repeats", type=int, default=1000, help="batches over which growth is watched")


def training_peak(size: models.Size, batch: int, tokens: int, device: str, dtype: str) -> dict:
    """Peak of two training steps with nine streams."""
    steps = Steps(size, batch, tokens, device=device, dtype=dtype)
    return _peak(lambda: steps.step("compact"), device)


def generating_peak(size: models.Size, mode: str, batch: int, source: int) -> dict:
    """Peak of writing two batches."""
    dictionary = models.make_dictionary(size)
    model = models.bang(size, dictionary, 4, source).eval()
    one = bang_contestants(model, dictionary, 4, 2, source)[mode]
    sample = models.sources(dictionary, batch, source)
    return _peak(lambda: one.write(sample, min(GENERATED, source)), "cpu")


def _peak(run, device: str) -> dict:
    model = resident_bytes(device)
    reset_peak(device)
    for _ in range(2):
        run()
    return {"model (GB)": model / 1e9, "peak (GB)": peak_bytes(device) / 1e9}


def growth(repeats: int, what: str) -> list[dict]:
    """Memory held after every tenth of ``repeats`` batches of changing size, by a small model.

    The first tenth is not counted: caches of the libraries fill up.
    """
    size = models.QUICK
    if what == "training":
        steps = [Steps(size, batch, 70, ngram=4) for batch in (1, 2, 3)]
        runs = [partial(step.step, "compact") for step in steps]
    else:
        dictionary = models.make_dictionary(size)
        model = models.bang(size, dictionary, 4, 32).eval()
        one = bang_contestants(model, dictionary, 4, 2, 32)[what]
        runs = [partial(one.write, models.sources(dictionary, n, 5 * n), 3 * n) for n in range(1, 6)]
    held, every = [], max(repeats // 10, 1)
    for number in range(1, repeats + 1):
        runs[number % len(runs)]()
        if number % every == 0:
            gc.collect()
            held.append({"work": what, "batches": number, "held (MB)": resident_bytes() / 1e6})
    return held


def run(args) -> Output:
    """Measure, print and save."""
    size = models.QUICK if args.quick else models.BASE
    if args.quick:
        args.train_batches, args.train_tokens, args.batches, args.sources = [1, 2], [70], [1, 2], [30]
        args.repeats = 20
    out = Output(args.folder, "memory", describe(args.device), {**vars(args), "folder": str(args.folder)})
    training = [
        {
            "tokens": tokens,
            "batch": batch,
            **in_own_process(training_peak, size, batch, tokens, args.device, args.dtype),
        }
        for tokens in args.train_tokens
        for batch in args.train_batches
    ]
    out.table("Training with nine streams", training)
    modes = MODES[:1] if args.quick else MODES
    generating = [
        {"mode": mode, "source": source, "batch": batch, **in_own_process(generating_peak, size, mode, batch, source)}
        for mode in modes
        for source in args.sources
        for batch in args.batches
    ]
    out.table(f"Generating {GENERATED} tokens", generating)
    held = [row for what in ("training", *modes) for row in in_own_process(growth, args.repeats, what)]
    out.table(f"Memory held over {args.repeats} batches (small model)", held)
    for what in ("training", *modes):
        own = [row["held (MB)"] for row in held if row["work"] == what]
        out.fact(f"{what}: growth from the first tenth to the last (MB)", own[-1] - own[0])
    out.save(partial(_draw, training, generating, held))
    return out


def _draw(training: list[dict], generating: list[dict], held: list[dict], figure) -> None:
    """Three panels: training, generating, growth."""
    left, middle, right = figure.subplots(1, 3)
    for rows, axes, keys in ((training, left, ("tokens",)), (generating, middle, ("mode", "source"))):
        for group in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
            own = [row for row in rows if tuple(row[key] for key in keys) == group]
            label = ", ".join(str(part) for part in group) + " tokens"
            axes.plot([row["batch"] for row in own], [row["peak (GB)"] for row in own], "o-", label=label)
        axes.set(xlabel="batch size", ylabel="peak (GB)")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=6)
    left.set_title("training")
    middle.set_title("generating")
    for what in dict.fromkeys(row["work"] for row in held):
        own = [row for row in held if row["work"] == what]
        right.plot([row["batches"] for row in own], [row["held (MB)"] for row in own], label=what)
    right.set(xlabel="batches", ylabel="memory held (MB)", title="growth")
    right.legend(fontsize=6)
