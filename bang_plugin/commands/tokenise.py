"""Split text into sentencepieces or BERT word pieces, and join them again.

    bang tokenise train --size 8000 --model spm.model corpus.src corpus.tgt
    bang tokenise encode --model spm.model < text > pieces
    bang tokenise decode --model spm.model < pieces > text

With ``--vocab vocab.txt`` instead of ``--model`` it is BERT's word pieces. fairseq-interactive and
fairseq-generate do the same with ``--bpe sentencepiece --sentencepiece-model spm.model`` and
``--bpe wordpiece --wordpiece-vocab vocab.txt``.
"""

import io
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import cast

from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE

from ..data.tokenisers import sentence_pieces, word_pieces
from ..data.wordpiece import Wordpiece
from ..errors import BangError

ACTIONS = {
    "train": "train a sentencepiece model on text",
    "encode": "split standard input into pieces",
    "decode": "join pieces of standard input",
}


def train(files: list[Path], model: Path, size: int) -> None:
    """Train a unigram sentencepiece model and write it to ``model``.

    Text is not normalised, so that decoding gives back what was encoded (runs of blanks become one).

    Raises:
        BangError: if a file cannot be read or written, or the text is too small for ``size`` pieces.
    """
    import sentencepiece

    from ..evaluation.files import write_whole  # only here, since its package takes a second to import

    for file in files:
        if not file.is_file():
            raise BangError(f"{file}: no such file")
    trained = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=[str(file) for file in files],
            model_writer=trained,
            vocab_size=size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1]
        reason = reason.rpartition("] ")[2] or f"the trainer says {reason}"
        raise BangError(f"--size {size}: {reason}") from error
    write_whole(model, lambda part: part.write_bytes(trained.getvalue()))


def load(model: Path | None, vocab: Path | None, cased: bool = False) -> Wordpiece | SentencepieceBPE:
    """The tokeniser, with fairseq's interface ``encode`` and ``decode``, text to text.

    Raises:
        BangError: if not exactly one of the two files is given, or it cannot be used.
    """
    if (model is None) == (vocab is None):
        raise BangError("give either --model (sentencepiece) or --vocab (word pieces)")
    return word_pieces(vocab, cased) if vocab else sentence_pieces(cast(Path, model))


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="train | encode | decode")
    for action, line in ACTIONS.items():
        command = actions.add_parser(action, help=line, description=line)
        command.add_argument("--model", type=Path, help="sentencepiece model" + ", to write" * (action == "train"))
        if action == "train":
            command.add_argument("files", nargs="+", type=Path, help="text to train on")
            command.add_argument("--size", type=int, default=8000, help="pieces of the model")
        else:
            command.add_argument("--vocab", type=Path, help="BERT vocabulary: word pieces instead of sentencepieces")
            command.add_argument("--cased", action="store_true", help="word pieces keep upper case and accents")


def run(args: Namespace) -> None:
    """Train a model, or convert standard input to standard output.

    Raises:
        BangError: if a file is missing, cannot be read or is too small.
    """
    if args.action == "train":
        if not args.model:
            raise BangError("train needs --model, the file to write")
        train(args.files, args.model, args.size)
        return
    convert = getattr(load(args.model, args.vocab, args.cased), args.action)
    # bytes that are not UTF-8 become U+FFFD, as in fairseq's commands under this plugin
    cast(io.TextIOWrapper, sys.stdin).reconfigure(encoding="utf-8", errors="replace", newline="\n")
    for line in sys.stdin:
        print(convert(line.rstrip("\n")))
