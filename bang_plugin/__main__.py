"""``bang COMMAND …``, or ``python -m bang_plugin COMMAND …``: what fairseq's commands leave out, see ``commands/``."""

import argparse
import importlib
import sys
from typing import Any

from .errors import BangError

COMMANDS = {
    "tokenise": "split text into sentencepieces or BERT word pieces, and join them again",
    "evaluate": "score generated text, and say for every number how it was computed",
    "average": "average the parameters of several checkpoints of one training",
    "trace": "draw what --trace-file wrote as a page that shows every pass",
    "serve": "answer over HTTP, as OpenAI's clients ask",
    "convert": "make a checkpoint from a folder of ProphetNet, XProphetNet or BERT",
    "export": "write a model as ONNX graphs or without pickle, with dictionary and tokeniser",
}


def main(argv: list[str] | None = None) -> None:
    """Run a command; what its user can mend ends it with one line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="bang", description="What fairseq's commands leave out.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    module: Any = None  # without a command, parsing ends the program
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, formatter_class=argparse.RawDescriptionHelpFormatter)
        if argv[:1] == [name]:  # the others are not imported, since some take seconds to
            module = importlib.import_module(f".commands.{name}", __package__)
            command.description = module.__doc__
            module.add_arguments(command)
    args = parser.parse_args(argv)
    try:
        module.run(args)
    except BangError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
