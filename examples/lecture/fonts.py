"""Chinese letters wherever a figure or the deck is built or shown: Noto Sans SC, and of it what is used."""

import io
import logging
from functools import cache
from pathlib import Path

from .packages import FONT_FILE, NOTO, fetched

FAMILY = "Noto Sans SC"
logging.getLogger("fontTools").setLevel(logging.WARNING)  # fairseq opens everybody's log


@cache
def chinese() -> Path:
    """Noto Sans SC as a TrueType file, which matplotlib and resvg read."""
    from fontTools.ttLib import TTFont

    from ..workspace import whole

    woff = fetched(NOTO) / FONT_FILE
    path = woff.with_suffix(".ttf")
    if not path.exists():
        font = TTFont(woff)
        font.flavor = None
        for record in font["name"].names:  # the package's file calls itself thin, which it is not
            record.string = str(record).replace(f"{FAMILY} Thin", FAMILY)
        with whole(path) as part:
            font.save(part)
    return path


def latin() -> Path:
    """DejaVu Sans, which matplotlib brings along."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def subset(text: str) -> bytes:
    """A WOFF file with the Chinese letters of a text and no others."""
    from fontTools import subset as tools

    options = tools.Options(flavor="woff", layout_features=[], hinting=False, notdef_outline=True)
    font = tools.load_font(str(chinese()), options)
    cutter = tools.Subsetter(options)
    cutter.populate(unicodes=sorted({ord(letter) for letter in text if ord(letter) > 0x2000}))
    cutter.subset(font)
    out = io.BytesIO()
    tools.save_font(font, out, options)
    return out.getvalue()
