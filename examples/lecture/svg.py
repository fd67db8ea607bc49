"""Diagrams as SVG: a few shapes, and text that stays text."""

import unicodedata
from html import escape

FONTS = "'DejaVu Sans', 'Noto Sans SC', sans-serif"
PREFIX, CHAIN, KEPT, REJECTED, PLAIN = "#cfe3f6", "#fbd9a8", "#c9e8c9", "#f4c7c3", "#eeeeee"
LINE, TEXT, FAINT = "#37474f", "#1b1b1b", "#5f6b73"


def width_of(text: str, size: float) -> float:
    """About the width of a text: a Chinese character is as wide as the font is high, a Latin one 0.62 of it."""
    return size * sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.62 for letter in text)


class Drawing:
    """An SVG that grows.

    Args:
        width, height: in pixels.
        title: read out by screen readers.
    """

    def __init__(self, width: float, height: float, title: str):
        self.size = (width, height)
        self.title = title
        self.parts: list[str] = []

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, line: str = LINE, dash: str = ""
    ) -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3" fill="{fill}" '
            f'stroke="{line}" stroke-width="1"{dashed}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 14,
        anchor: str = "start",
        bold: bool = False,
        fill: str = TEXT,
    ) -> None:
        """Text whose base line begins, is centred or ends at a point."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{fill}"{weight}>'
            f"{escape(text)}</text>"
        )

    def box(
        self, x: float, y: float, width: float, height: float, text: str, fill: str, size: float = 14, **how
    ) -> None:
        """A rectangle with a text in its middle, smaller where it would not fit."""
        self.rect(x, y, width, height, fill, **how)
        fitting = min(size, size * (width - 4) / max(width_of(text, size), 1))
        self.text(x + width / 2, y + height / 2 + fitting * 0.36, text, fitting, "middle")

    def line(
        self, x1: float, y1: float, x2: float, y2: float, color: str = LINE, width: float = 1, arrow: bool = False
    ):
        end = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{color}" stroke-width="{width:g}"{end}/>'
        )

    def __str__(self) -> str:
        width, height = self.size
        marker = (
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker></defs>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" font-family="{FONTS}" role="img"><title>{escape(self.title)}</title>{marker}'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(self.parts)}</svg>\n'
        )
