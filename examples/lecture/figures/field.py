"""Figure 11: the field since, as a timeline."""

from scripts.published import FIELD, KINDS

from ..registry import figure
from ..svg import CHAIN, FAINT, KEPT, PLAIN, PREFIX, REJECTED, Drawing, width_of

PUBLISHED = "scripts/published.py"
COLOURS = dict(zip(KINDS, (CHAIN, PREFIX, KEPT, "#e4d7f0", REJECTED)))
LANE, LEFT, RIGHT = 92, 40, 1160


def kind_names(say) -> dict[str, str]:
    return dict(
        zip(
            KINDS,
            (
                say("one pass", "一遍"),
                say("refined in several passes", "多遍修正"),
                say("drafted and verified", "起草并验证"),
                say("several tokens at once", "一次多词"),
                say("diffusion", "扩散"),
            ),
        )
    )


@figure(11, code=(PUBLISHED,))
def timeline(found, say) -> str:
    years = [entry.year for entry in FIELD]
    first, last = min(years), max(years)
    drawing = Drawing(1240, 70 + LANE * len(KINDS), say("Writing in few passes", "少遍生成的发展"))

    def place(year: float) -> float:
        return LEFT + 150 + (year - first) / (last - first + 0.8) * (RIGHT - LEFT - 190)

    for year in range(first, last + 1):
        drawing.line(place(year), 34, place(year), 50 + LANE * len(KINDS), "#dde3e6")
        drawing.text(place(year), 26, str(year), 14, "middle", fill=FAINT)
    for lane, (kind, name) in enumerate(kind_names(say).items()):
        y = 46 + lane * LANE
        drawing.text(10, y + 26, name, 13, bold=True)
        drawing.line(10, y + LANE - 10, RIGHT, y + LANE - 10, "#c4ccd1")
        ends = [0.0, 0.0, 0.0]
        for entry in (entry for entry in FIELD if entry.kind == kind):
            wide = width_of(entry.model, 12) + 12
            x = min(place(entry.year), 1230 - wide)
            row = next((row for row, end in enumerate(ends) if end <= x), 2)
            x = max(x, ends[row])
            drawing.box(x, y + 2 + row * 25, wide, 22, entry.model, COLOURS.get(kind, PLAIN), 12)
            ends[row] = x + wide + 6
    return str(drawing)
