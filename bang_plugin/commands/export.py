"""Write a model in another format, with its dictionary and tokeniser beside it.

    bang export model graphs --format onnx --quantize int8     (to write with onnxruntime: python graphs/decode.py nar)
    bang export model tensors --format safetensors             (for from_pretrained: nothing in it is pickled)

FOLDER is one that BangModel.from_pretrained loads; docs/export.md says what the graphs take.
"""

import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BangError
from ..guards import log_level
from ..guards.saving import check_new, whole_folder

FORMATS = ("onnx", "safetensors")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folder", metavar="FOLDER", help="with the checkpoint")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write, new or empty")
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument(
        "--checkpoint-file",
        metavar="NAME",
        help="default: the first of model.pt, model.safetensors, checkpoint_best.pt and checkpoint_last.pt",
    )
    parser.add_argument(
        "--quantize",
        choices=["int8"],
        help="of onnx: the graphs once more, with 8-bit weights by onnxruntime's quantiser",
    )
    parser.add_argument("--data", metavar="FOLDER", help="with the dictionaries, if they are not beside the checkpoint")


def run(args: Namespace) -> None:
    """Load and write.

    Raises:
        BangError: if the model cannot be loaded or exported, or OUT cannot be written.
    """
    if args.quantize and args.format != "onnx":
        raise BangError(f"--quantize {args.quantize} needs --format onnx")
    from ..export import onnx_files, source, tensors

    log_level.install()  # importing fairseq has opened it
    check_new(args.out, str(args.out))
    quiet = logging.root.manager.disable
    logging.disable(logging.INFO)  # what fairseq's task says of itself
    try:
        found = source.load(args.folder, args.checkpoint_file, args.data)
        with whole_folder(args.out, str(args.out)) as part:
            if args.format == "onnx":
                names = onnx_files.write(found, part, args.quantize or "none")
            else:
                names = tensors.write(found, part)
    finally:
        logging.disable(quiet)
    print(f"{args.out}: {', '.join(names)}")
