"""``python -m bang_plugin COMMAND …``, see ``commands/``."""

import argparse

from .commands import average
from .guards import table

COMMANDS = {"average": average}


def main(argv=None) -> None:
    """
    Raises:
        BangError: printed as one line.
    """
    table.install()
    parser = argparse.ArgumentParser(prog="bang", description="What fairseq's commands leave out.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        description = module.__doc__
        command = commands.add_parser(
            name,
            help=description.splitlines()[0].rstrip("."),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    args = parser.parse_args(argv)
    COMMANDS[args.command].run(args)


if __name__ == "__main__":
    main()
