"""Every speed figure of this project comes from here: ``python -m scripts.benchmark COMPARISON``, of those below.

All contestants of a comparison run in one process and in turn; medians and spreads are printed together with the
machine and versions, and saved as ``benchmark_<name>.json``, ``.md`` and ``.png``.
"""

import argparse
import importlib
from pathlib import Path

import torch

from scripts.measure import warnings_only

COMPARISONS = {
    "train": "a training step of the compact layout against the dense one",
    "decode": "every decoding mode of a checkpoint on a test set",
    "peers": "our modes against fairseq, CTranslate2 and a one-pass model",
    "export": "a model's ONNX graphs in onnxruntime against the model in torch",
    "serve": "bang serve under one client and many",
    "memory": "peaks against batch size and length, and growth over many batches",
}


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="comparison", required=True)
    for name, text in COMPARISONS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--folder", type=Path, default=Path("outputs"), help="where results are written")
        command.add_argument("--quick", action="store_true", help="tiny models and one round: shows that it works")
        command.add_argument("--threads", type=int, help="of the processor; default: torch's choice")
        importlib.import_module(f"scripts.bench.{name}").add_arguments(command)
    return parser.parse_args(arguments)


def main(arguments=None) -> None:
    args = parse(arguments)
    warnings_only()
    if args.threads:
        torch.set_num_threads(args.threads)
    importlib.import_module(f"scripts.bench.{args.comparison}").run(args)


if __name__ == "__main__":
    main()
