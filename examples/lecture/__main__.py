"""Makes the lecture: ``python -m examples.lecture`` writes figures, tables and ``index.html`` into ``lecture/``."""

import argparse
import sys
from pathlib import Path

from bang_plugin.errors import BangError
from bang_plugin.guards import log_level

from ..workspace import write_text


def main(argv: list[str] | None = None) -> None:
    """Build everything.

    Raises:
        SystemExit: with what the user has to do, if a recorded run, npm or a package is missing.
    """
    parser = argparse.ArgumentParser(prog="python -m examples.lecture", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("lecture"), help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--fresh", action="store_true", help="first run again what takes minutes: traces, short trainings, discussion"
    )
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="what make demo left, for --fresh")
    parser.add_argument(
        "--missing-ok", action="store_true", help="draw what can be drawn, and list what no run was recorded for"
    )
    args = parser.parse_args(argv)
    log_level.install()  # importing fairseq has opened it
    try:
        if args.fresh:
            from .runs import fresh

            fresh(args.demo)
        from .build import build, complaint
        from .deck import deck
        from .discussion import markdown

        built = build(args.output, args.missing_ok)
        if "discussion" not in built.left_out:
            write_text(args.output / "discussion.md", markdown())
        write_text(args.output / "index.html", deck(built))
    except BangError as error:
        sys.exit(f"error: {error}")
    if built.left_out:
        print(complaint(built.left_out))
    print(f"{args.output}/index.html, figures/, tables/: {len(built.drawn) // 2} of 26")


if __name__ == "__main__":
    main()
