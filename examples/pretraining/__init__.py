"""From a folder of text to a pretrained checkpoint, and what it is worth: fine-tuning with and without it."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from bang_plugin.commands import tokenise
from bang_plugin.errors import BangError
from bang_plugin.evaluation import evaluate
from bang_plugin.evaluation.tables import print_table
from bang_plugin.guards import log_level
from examples.generate import generate_one
from examples.prepare import binarise, cut, tokeniser
from examples.recipe import option_list
from examples.score import references
from examples.train import default_gpus, shared_batch
from examples.workspace import Workspace, arguments_for_fairseq, fairseq, read_lines, whole, write_lines, write_text

from . import data
from .curves import plot
from .recipes import DECODINGS, JOINT, PRESETS, SPANS

RUNS = {"from scratch": False, "pretrained": True}
METRICS = ["rouge-155"]


def prepare(work: Workspace, args) -> None:
    """Write text and pairs, split both with one tokeniser that the text has trained, and binarise them."""
    preset = PRESETS[args.preset]
    size = args.pieces or preset.pieces

    def raw() -> None:
        with whole(work.raw) as part:
            part.mkdir()
            data.write(part, args.text, args.pairs, args.most)

    def split() -> None:
        with whole(work.pieces) as part:
            part.mkdir()
            tokenise.train([work.raw / "text.train"], part / "sentencepiece.model", size)
            encode = tokeniser(part).encode
            for file in sorted(work.raw.iterdir()):
                if file.suffix in (".train", ".valid", ".src", ".tgt"):
                    lines = map(encode, read_lines(file))
                    if preset.source_pieces and file.suffix == ".src":
                        lines = map(partial(cut, longest=preset.source_pieces), lines)
                    write_lines(part / file.name, lines)

    def text() -> None:
        parts = ["--trainpref", work.pieces / "text.train", "--validpref", work.pieces / "text.valid"]
        with whole(work.folder / "text-bin") as part:
            base = ["--only-source", "--task", "bang_pretraining", "--destdir", part, "--workers", args.workers]
            fairseq("preprocess", *parts, *base)

    work.step("text", {"--text": args.text, "--pairs": args.pairs, "--most": args.most}, raw)
    work.step("pieces", {"--pieces": size}, split)
    work.step("binarise text", {}, text)
    dictionary = work.folder / "text-bin" / "dict.txt"
    work.step("binarise", {}, partial(binarise, work.pieces, work.bin, dictionary, args.workers))


def train(work: Workspace, args) -> None:
    """Pretrain, then fine-tune with and without."""
    work.require("binarise", "prepare")
    preset = PRESETS[args.preset]

    def settings(task, *parts) -> list[str]:
        merged = {name: value for part in (task, preset.model, *parts) for name, value in part.items()}
        return option_list(merged, shared_batch(merged, preset.processes, args.gpus))

    run_training(work, args, "pretraining", work.folder / "text-bin", settings(SPANS, preset.pretraining))
    for run, pretrained in RUNS.items():
        start = {"--load-from-pretrained-model": (work.models / "pretraining" / "checkpoint_best.pt").resolve()}
        options = settings(JOINT, preset.finetuning, start if pretrained else {})
        run_training(work, args, run, work.bin, options)


def run_training(work: Workspace, args, run: str, folder: Path, options: list[str]) -> None:
    """Train, or go on with an interrupted training; validation goes to ``log.json`` for the curves."""
    options = [*options, *args.fairseq]
    save = work.models / run
    device = {0: ["--cpu"], 1: ["--distributed-world-size", 1]}.get(args.gpus, [])
    log = ["--log-format", "json", "--log-interval", 50, "--log-file", save / "log.json", "--seed", 1]
    keep = ["--no-epoch-checkpoints", "--save-dir", save]

    def go() -> None:
        save.mkdir(parents=True, exist_ok=True)
        fairseq("train", folder, *keep, *log, *device, *options, gpus=args.gpus)

    work.step(f"train {run}", {"options": " ".join(options)}, go)


def generate(work: Workspace, args) -> None:
    """Write the test set with both models, AR and NAR."""
    for run in RUNS:
        work.require(f"train {run}", "train")
        model = work.models / run / "checkpoint_best.pt"
        for decoding, options in DECODINGS.items():
            limits = {"--task": "bang", "--truncate-source": True, "--skip-invalid-size-inputs-valid-test": True}
            chosen = [*option_list(options, limits), *args.fairseq]
            write = partial(generate_one, work, run, decoding, model, chosen, args.gpus)
            work.step(f"generate {run} {decoding}", {"options": " ".join(chosen)}, write)


def score(work: Workspace, args) -> None:
    """Print the comparison; write ``scores.md``, ``scores.json`` and ``curves.png``."""
    for run in RUNS:
        for decoding in DECODINGS:
            work.require(f"generate {run} {decoding}", "generate")
    expected, rows = references(work, as_written=True), []
    for run in RUNS:
        for decoding in DECODINGS:
            found = evaluate(read_lines(work.outputs / run / f"{decoding}.txt"), expected, METRICS)
            rows.append({"model": run, "decoding": decoding, **{name: value.value for name, value in found.items()}})
    write_text(work.folder / "scores.md", print_table(rows))
    write_text(work.folder / "scores.json", json.dumps(rows, indent=1))
    plot({run: work.models / run / "log.json" for run in RUNS}, work.folder / "curves.png")
    print(f"\n{work.folder}/scores.md, scores.json, curves.png")


STEPS = {"prepare": prepare, "train": train, "generate": generate, "score": score}


def main(argv: list[str] | None = None) -> None:
    """Run one step.

    Raises:
        SystemExit: with one line, if the user has to mend something.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.pretraining", description=f"{__doc__} What follows -- goes to fairseq."
    )
    parser.add_argument("step", choices=list(STEPS))
    parser.add_argument("--work", type=Path, default=Path("outputs/pretraining"), help="folder to work in")
    parser.add_argument("--preset", choices=list(PRESETS), default="small")
    parser.add_argument("--text", type=Path, help="folder with *.txt; default: Debian's package descriptions")
    parser.add_argument("--pairs", type=Path, help="folder with {train,dev,test}.{src,tgt} to fine-tune on")
    parser.add_argument("--pieces", type=int, help="size of the sentencepiece vocabulary")
    parser.add_argument("--most", type=int, help="at most so many documents, and pairs of each part (for trials)")
    parser.add_argument("--gpus", type=int, default=default_gpus(), help="GPUs to use; 0: CPU (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that binarise (default: %(default)s)")
    own, fairseq_options = arguments_for_fairseq(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(own)
    args.fairseq = fairseq_options
    log_level.install()  # importing fairseq has opened it
    try:
        STEPS[args.step](Workspace(args.work), args)
    except BangError as error:
        raise SystemExit(f"error: {error}") from error
