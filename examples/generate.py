"""Step ``generate``: every trained run writes the test set, in every decoding that it was trained for."""

import json
import re
from datetime import datetime
from functools import partial
from pathlib import Path

from .prepare import tokeniser
from .recipe import Recipe, option_list
from .train import DISTILLED, checkpoint, hypotheses, input_limits, run_name
from .work import Work, fairseq, read_lines, write_lines, write_text


def trained_runs(recipe: Recipe, work: Work, args) -> list[str]:
    """Runs asked for; without ``--mode`` all that were trained."""
    if args.mode:
        return [run_name(mode, args.distil) for mode in args.mode]
    runs = [run_name(mode, distil) for mode in recipe.modes for distil in (False, True)]
    return [run for run in runs if (work.folder / "done" / f"train {run}.json").exists()]


def generate(recipe: Recipe, work: Work, args) -> None:
    """Write ``outputs/<run>/<decoding>.txt`` and, with times and passes, ``.json``."""
    work.require("binarise", "prepare")
    runs = trained_runs(recipe, work, args)
    if not runs:
        work.require(f"train {next(iter(recipe.modes))}", "train")
    for run in runs:
        name = run.removesuffix(DISTILLED)
        mode, model = recipe.modes[name], checkpoint(work, run)
        settings: dict = {"the checkpoint of": datetime.fromtimestamp(model.stat().st_mtime)}
        if mode.write:
            work.step(f"generate {run}", settings, partial(mode.write, work, run, model))
            continue
        for decoding in mode.decodings:
            repeats = {"--collapse-repeats": None} if args.keep_repeats else {}
            options = option_list(input_limits(recipe, name), recipe.decodings[decoding], repeats) + args.fairseq
            settings["options"] = " ".join(options)
            write = partial(generate_one, work, run, decoding, model, options, args.gpus)
            work.step(f"generate {run} {decoding}", settings, write)


def generate_one(work: Work, run: str, decoding: str, model: Path, options: list[str], gpus: int) -> None:
    """Run fairseq-generate on the test set."""
    output = work.outputs / run / decoding
    log = output.with_suffix(".log")
    device = ["--cpu"] if gpus == 0 else []
    fairseq("generate", work.bin, "--task", "bang", "--path", model, *device, *options, output=log)
    found = hypotheses(log)
    sentences = len(read_lines(work.raw / "test.src"))
    decode = tokeniser(work.pieces).decode
    write_lines(output.with_suffix(".txt"), (decode(found.get(i, "")) for i in range(sentences)))
    write_text(output.with_suffix(".json"), json.dumps(costs(log), indent=1))


def costs(log: Path) -> dict[str, float | None]:
    """What writing took, from fairseq-generate's log.

    Returns:
        ``sentences_per_second`` in batches as fairseq makes them, and mean ``passes`` of the decoder per
        sentence: as the plugin logs them or, for AR, one per token of the hypothesis, end symbol included.
    """
    text = log.read_text(encoding="utf-8")
    speed = re.search(r"Translated [\d,]+ sentences .*?([\d.]+) sentences/s", text)
    passes = re.search(r"([\d.]+) decoder passes each", text)
    lengths = [line.count(" ") + 1 for line in re.findall(r"^P-\d+\t(.*)$", text, re.M)]
    return {
        "sentences_per_second": float(speed[1]) if speed else None,
        "passes": float(passes[1]) if passes else sum(lengths) / max(len(lengths), 1),
    }
