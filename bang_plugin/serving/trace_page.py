"""What ``--trace-file`` wrote as one page that holds all it needs: style, scripts and records."""

import base64
import hashlib
import html
import json
import math
import re
from pathlib import Path
from typing import Any, Dict, List

from ..errors import BangError
from ..evaluation.files import read_lines

STATIC = Path(__file__).parent / "static"
# in an order in which each uses only those before it; in one script no name is imported
SCRIPTS = ("words.js", "picture.js", "player.js", "appearance.js", "trace.js")
_IMPORT = re.compile(r"^import .*\n", re.M)


def read_trace(path: Path) -> List[Dict[str, Any]]:
    """Records of a trace, of each what the page draws.

    Raises:
        BangError: naming the file and the line that is no record of ``--trace-file``'s.
    """
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, _Strange) else "no whole JSON object"
            raise BangError(f"{path}: line {number} is no record that --trace-file wrote: {reason}") from error
    return records


class _Strange(ValueError):
    """What a record has that none can have."""


def _record(found: Any) -> Dict[str, Any]:
    _check(isinstance(found, dict), "it is no object")
    _check(_is_count(found.get("id")), "id is no number of a sentence")
    _check(_is_count(found.get("passes")), "passes is no number of passes")
    _check(_is_number(found.get("score")), "score is no number")
    _check(isinstance(found.get("trace"), list) and bool(found["trace"]), "trace is no list of passes")
    trace = [_step(step) for step in found["trace"]]
    record = {"id": found["id"], "passes": found["passes"], "score": _finite(found["score"]), "trace": trace}
    if "source" in found:
        _check(_are(str, found["source"]), "source is no list of text")
        record["source"] = found["source"]
    if "decoding" in found:
        _check(isinstance(found["decoding"], str), "decoding is no name")
        record["decoding"] = found["decoding"]
    return record


def _step(found: Any) -> Dict[str, Any]:
    _check(isinstance(found, dict) and _is_count(found.get("pass")), "a pass has no number")
    tokens, chances, kept = found.get("tokens"), found.get("probabilities"), found.get("kept")
    here = f"in pass {found['pass']} "
    _check(_are(str, tokens), f"{here}tokens is no list of text")
    _check(isinstance(chances, list) and all(map(_is_number, chances)), f"{here}probabilities is no list of numbers")
    _check(len(chances) == len(tokens), f"{here}there are {len(tokens)} tokens, but {len(chances)} probabilities")
    _check(_is_count(kept) and kept <= len(tokens), f"{here}kept is no number of its tokens")
    step = {"pass": found["pass"], "tokens": tokens, "probabilities": list(map(_finite, chances)), "kept": kept}
    if "draft" in found:
        _check(_are(str, found["draft"]), f"{here}draft is no list of text")
        step["draft"] = found["draft"]
    if "alternatives" in found:
        others = found["alternatives"]
        _check(
            isinstance(others, list) and all(_are_pairs(pairs) for pairs in others), f"{here}alternatives are no pairs"
        )
        step["alternatives"] = [[[token, _finite(chance)] for token, chance in pairs] for pairs in others]
    return step


def _check(right: bool, reason: str) -> None:
    if not right:
        raise _Strange(reason)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53  # exact in a browser


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _are_pairs(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and _is_number(pair[1])
        for pair in values
    )


def _finite(value: float) -> float | None:
    """JSON of a browser has no infinity and no NaN."""
    return value if math.isfinite(value) else None


def trace_page(title: str, traces: Dict[str, List[Dict[str, Any]]]) -> str:
    """A page that opens from a file, without a server or network.

    Its own script is the only one that it may run, whatever the text of a trace holds.

    Args:
        title: heading.
        traces: records by the name over their pane.
    """
    script = "".join(_IMPORT.sub("", (STATIC / name).read_text("utf-8")) for name in SCRIPTS)
    style = (STATIC / "style.css").read_text("utf-8")
    data = {"title": title, "traces": [{"name": name, "records": found} for name, found in traces.items()]}
    # nothing in it can end the element: it is ASCII without angle brackets, and lone surrogates stay escaped
    records = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e")
    policy = f"default-src 'none'; img-src data:; script-src '{_digest(script)}'; style-src '{_digest(style)}'"
    charset = '<meta charset="utf-8">'
    parts = {
        charset: f'{charset}\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        "<title>BANG</title>": f"<title>{html.escape(_printable(title))}</title>",
        '<link rel="stylesheet" href="style.css">': f"<style>{style}</style>",
        'id="records"></script>': f'id="records">{records}</script>',
        '<script type="module" src="trace.js"></script>': f'<script type="module">{script}</script>',
    }
    page = (STATIC.parent / "trace.html").read_text("utf-8")
    places = re.compile("|".join(map(re.escape, parts)))
    return places.sub(lambda match: parts[match.group()], page)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
