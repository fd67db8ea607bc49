"""The one command line of all examples: ``python -m examples.NAME prepare|train|generate|score``."""

import argparse
import sys
from pathlib import Path

from bang_plugin.errors import BangError
from bang_plugin.guards import log_level

from .generate import REPEATS, generate
from .prepare import prepare
from .recipe import Recipe
from .score import score
from .train import TEACHER, default_gpus, train
from .workspace import Workspace, arguments_for_fairseq

STEPS = {"prepare": prepare, "train": train, "generate": generate, "score": score}


def parse(recipe: Recipe, argv: list[str]) -> argparse.Namespace:
    """Options of every step; what follows ``--`` goes to the fairseq command that the step runs."""
    own, fairseq = arguments_for_fairseq(argv)
    parser = argparse.ArgumentParser(
        prog=f"python -m examples.{recipe.name}",
        description=f"{recipe.title} Steps that are finished are skipped; an interrupted one goes on.",
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    parsers = {
        "prepare": steps.add_parser("prepare", help="fetch the data, split it into pieces, binarise it"),
        "train": steps.add_parser("train", help="train (further options of fairseq-train after --)"),
        "generate": steps.add_parser(
            "generate", help="write the test set (further options of fairseq-generate after --)"
        ),
        "score": steps.add_parser("score", help="table of all results, beside the published ones"),
    }
    for step in parsers.values():
        default = Path("outputs") / recipe.name
        step.add_argument("--work", type=Path, default=default, help="folder to work in (default: %(default)s)")
    prepare, train = parsers["prepare"], parsers["train"]
    prepare.add_argument("--data", type=Path, help="folder with {train,dev,test}.{src,tgt} instead of the default data")
    if recipe.corpora:
        prepare.add_argument("--corpus", choices=list(recipe.corpora), help="other data instead of the default data")
    else:
        prepare.set_defaults(corpus=None)
    prepare.add_argument("--most", type=int, help="use at most this many pairs of each part (for trials)")
    prepare.add_argument("--vocab", type=Path, help="BERT vocabulary of the pretrained checkpoint")
    prepare.add_argument("--pieces", type=int, help="train a sentencepiece vocabulary of this size instead")
    for step in (parsers["train"], parsers["generate"]):
        help_mode = f"of {', '.join(recipe.modes)}; default: all"
        step.add_argument("--mode", nargs="+", choices=list(recipe.modes), metavar="MODE", help=help_mode)
        step.add_argument("--gpus", type=int, default=default_gpus(), help="GPUs to use; 0: CPU (default: %(default)s)")
        if TEACHER in recipe.modes:
            help_distil = f"with the targets as the trained mode {TEACHER} writes them"
            step.add_argument("--distil", action="store_true", help=help_distil)
        else:
            step.set_defaults(distil=False)
    if any("--collapse-repeats" in options for options in recipe.decodings.values()):
        help_repeats = "leave tokens that repeat their predecessor, which NAR drops as published"
        parsers["generate"].add_argument("--keep-repeats", action="store_true", help=help_repeats)
    else:
        parsers["generate"].set_defaults(keep_repeats=False)
    parsers["generate"].add_argument(
        "--repeats",
        type=int,
        help=f"write the test set so often, for the spread of the throughput (default: {REPEATS})",
    )
    for step in (prepare, train):
        step.add_argument("--workers", type=int, default=1, help="processes that binarise")
    train.add_argument("--pretrained", type=Path, help="checkpoint to start from")
    length = train.add_mutually_exclusive_group()
    length.add_argument("--updates", type=int, help="train for so many updates instead of the published epochs")
    length.add_argument("--minutes", type=float, help="train for as many updates as a short trial makes in that time")
    train.add_argument("--shards", type=int, default=8, help="parts in which the teacher writes (default: %(default)s)")
    parsers["score"].add_argument("--meteor-jar", type=Path, help="meteor-1.5.jar, for METEOR as published")
    args = parser.parse_args(own)
    args.fairseq = fairseq
    return args


def main(recipe: Recipe, argv: list[str] | None = None) -> None:
    """Run one step.

    Raises:
        SystemExit: with one line, if the user has to mend something.
    """
    args = parse(recipe, sys.argv[1:] if argv is None else argv)
    log_level.install()  # importing fairseq has opened it
    try:
        STEPS[args.step](recipe, Workspace(args.work), args)
    except BangError as error:
        sys.exit(f"error: {error}")
