"""From what draws a figure to SVG and PNG, and from a table's rows to Markdown and CSV."""

import contextlib
import csv
import io
import re
from collections.abc import Iterator

from bang_plugin.evaluation.tables import markdown_table

from . import fonts

SCALE = 2  # pixels of the PNG for one of the SVG


@contextlib.contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings for figures: text stays text, in fonts that have every letter."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import font_manager

    font_manager.fontManager.addfont(fonts.chinese())
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "lecture",  # the same names in every run
        "font.family": ["DejaVu Sans", fonts.FAMILY],
        "font.size": 10,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "figure.autolayout": True,
    }
    with matplotlib.rc_context(settings):
        yield


def svg(drawn) -> str:
    """The text of an SVG, of a diagram or a matplotlib figure."""
    if isinstance(drawn, str):
        return drawn
    import matplotlib.pyplot as plt

    out = io.StringIO()
    drawn.savefig(out, format="svg", metadata={"Date": None})
    plt.close(drawn)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    # Chromium takes points for pixels of another size: let it choose, by the viewBox alone
    return re.sub(r'(<svg[^>]*?) (?:width|height)="[\d.]+pt"', r"\1", re.sub(r' height="[\d.]+pt"', "", text, count=1))


def png(text: str) -> bytes:
    """An SVG as a picture, with the same fonts on every machine."""
    import resvg_py

    files = [str(fonts.latin()), str(fonts.latin().with_name("DejaVuSans-Bold.ttf")), str(fonts.chinese())]
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=text,
            font_files=files,
            skip_system_fonts=True,
            sans_serif_family="DejaVu Sans",
            background="white",
            zoom=SCALE,
        )
    )


def markdown(rows: list[dict]) -> str:
    """Rows with their keys as header."""
    return markdown_table(
        [
            {name: str(value).replace("|", "\\|") if isinstance(value, str) else value for name, value in row.items()}
            for row in rows
        ]
    )


def comma_separated(rows: list[dict]) -> str:
    """Rows with all digits of their numbers."""
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
