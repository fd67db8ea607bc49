"""Make a checkpoint of ours from a model that is a download away: ProphetNet, XProphetNet or BERT.

    bang convert prophetnet microsoft/prophetnet-large-uncased --output prophetnet
    bang convert prophetnet downloads/xprophetnet-large-wiki100-cased --output xprophetnet
    bang convert bert bert-base-uncased --output bert

A folder in transformers' format, or a name on the Hugging Face hub. The output folder holds model.pt, the dictionary
for fairseq-preprocess (--joined-dictionary --srcdict OUT/dict.src.txt) and the tokeniser; train from it with
--load-from-pretrained-model OUT/model.pt.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..conversion import bert, prophetnet
from ..conversion.source import Source
from ..conversion.writing import check_output, write
from ..guards import log_level

KINDS = {
    "prophetnet": "ProphetNet or XProphetNet: the whole network",
    "bert": "BERT: encoder and embeddings; the decoder is initialised at random",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="prophetnet | bert")
    for kind, line in KINDS.items():
        command = kinds.add_parser(kind, help=line, description=line)
        command.add_argument("model", metavar="FOLDER", help="in transformers' format, or a name on the hub")
        command.add_argument("--output", required=True, type=Path, metavar="OUT", help="folder to write, new or empty")
        if kind == "bert":
            command.add_argument(
                "--encoder-layers", type=int, metavar="N", help="keep BERT's first N layers; default: all"
            )
            command.add_argument("--decoder-layers", type=int, metavar="N", help="default: bang_base's")
            command.add_argument("--seed", type=int, default=1, help="of the decoder")


def run(args: Namespace) -> None:
    """Read, convert, write, and tell what differs and how to train from it.

    Raises:
        BangError: if the model is not there or another, or the folder cannot be written.
    """
    log_level.install()  # importing fairseq has opened it
    check_output(args.output)
    source = Source(args.model, bert.NEEDED if args.kind == "bert" else prophetnet.NEEDED)
    if source.folder is None:
        print(f"{args.model}: no folder here, looking on the Hugging Face hub", flush=True)
    if args.kind == "bert":
        converted, seed = bert.convert(source, args.encoder_layers, args.decoder_layers), args.seed
    else:
        converted, seed = prophetnet.convert(source), 1
    write(converted, args.output, args.model, seed)
    print(f"{args.output}: model.pt, dict.src.txt, dict.tgt.txt, {converted.vocabulary.tokeniser} from {args.model}")
    for note in converted.notes:
        print(f"note: {note}")
    options = " ".join(converted.training_options())
    print(f"train from it: {options} --load-from-pretrained-model {args.output}/model.pt")
