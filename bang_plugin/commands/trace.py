"""Draw what --trace-file wrote: one page to open, to mail or to show on a slide.

    bang trace trace.jsonl -o trace.html
    bang trace ar.jsonl speculative.jsonl -o both.html   # side by side

The output grows pass by pass: colour is the pass, shade the probability, rejected drafts are struck through. The page
needs no network and no server. The arrow keys step through the passes.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import BangError


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "traces", nargs="+", type=Path, metavar="TRACE", help="what --trace-file wrote; several stand side by side"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="page to write")
    parser.add_argument(
        "--ids", nargs="+", type=int, metavar="N", help="numbers of the sentences to show (default: all)"
    )
    parser.add_argument("--title", help="heading (default: the files' names)")


def run(args: Namespace) -> None:
    """Write the page.

    Raises:
        BangError: if a file cannot be read or is no trace, or a sentence is in none of them.
    """
    from ..evaluation.files import write_whole  # only here, since these packages take a second to import
    from ..serving.trace_page import read_trace, trace_page

    if args.output.resolve() in {path.resolve() for path in args.traces}:
        raise BangError(f"--output {args.output}: this is the trace itself; name another file")
    traces = {}
    for path in args.traces:
        name = path.name if path.name not in traces else str(path)
        traces[name] = read_trace(path)
    if args.ids is not None:
        known = {record["id"] for records in traces.values() for record in records}
        if missing := [number for number in args.ids if number not in known]:
            raise BangError(
                f"--ids {missing[0]}: no trace has this sentence; there are {len(known)}, such as {min(known)}"
            )
        for name, records in traces.items():
            traces[name] = [record for record in records if record["id"] in args.ids]
    title = " · ".join(traces) if args.title is None else args.title
    write_whole(args.output, lambda part: part.write_text(trace_page(title, traces), encoding="utf-8"))
    print(f"wrote {args.output}")
