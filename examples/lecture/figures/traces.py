"""Figures 2 and 5: a word as it is written, pass by pass, from recorded traces."""

from ..registry import figure
from ..svg import FAINT, KEPT, PLAIN, REJECTED, Drawing

CELL, HIGH, GAP = 40, 24, 5
OBSERVERS = "bang_plugin/decoding/observers.py"


def steps(trace: list[dict]) -> list[tuple[list[str], list[str], list[str]]]:
    """Of every pass what was written before it, what it wrote, and the drafts that it rejected."""
    before: list[str] = []
    found = []
    for step in trace:
        new = step["tokens"][: step["kept"]]
        draft = step.get("draft") or []
        # the pass's last token is verification's own: one after those drafts that stood
        stood = sum(1 for mine, drafted in zip(new, draft) if mine == drafted)
        found.append((list(before), new, draft[stood:]))
        before += new
    return found


def draw(drawing: Drawing, x: float, y: float, title: str, record: dict, say) -> float:
    """A decoding's passes below each other; returns the place under them."""
    drawing.text(x, y, title, 15, bold=True)
    passes = record["passes"]
    drawing.text(x, y + 18, say(f"{passes} decoder pass{'es' * (passes != 1)}", f"{passes} 遍解码"), 13, fill=FAINT)
    y += 28
    for number, (before, new, rejected) in enumerate(steps(record["trace"]), start=1):
        drawing.text(x, y + 16, str(number), 12, fill=FAINT)
        for place, token in enumerate(before + new):
            fill = KEPT if place >= len(before) else PLAIN
            drawing.box(x + 20 + place * CELL, y, CELL - 3, HIGH, token, fill, 13)
        for place, token in enumerate(rejected):
            left = x + 20 + (len(before) + max(0, len(new) - 1) + place) * CELL
            drawing.box(left, y + HIGH + 1, CELL - 3, HIGH - 6, token, REJECTED, 11, dash="3 2")
            drawing.line(left + 3, y + 1.4 * HIGH, left + CELL - 6, y + 1.4 * HIGH, "#a33")
        y += HIGH + GAP + (HIGH - 5 if rejected else 0)
    return y + 20


def word(found) -> dict:
    """The sentence that is shown."""
    return found["traces"]["sentences"][0]


def source(drawing: Drawing, sentence: dict, say) -> None:
    drawing.text(20, 26, say("source and reference:", "源与参考："), 14)
    drawing.text(190, 26, sentence["source"].replace(" ", "") + " → " + " | ".join(sentence["references"]), 14)


def legend(drawing: Drawing, y: float, say, rejected: bool = False) -> None:
    parts = [(KEPT, say("written in this pass", "本遍写出")), (PLAIN, say("written before", "此前已写"))]
    parts += [(REJECTED, say("drafted, rejected", "草稿被拒"))] * rejected
    for number, (fill, told) in enumerate(parts):
        drawing.rect(20 + 220 * number, y, 22, 16, fill)
        drawing.text(48 + 220 * number, y + 13, told, 13)


@figure(2, "traces", code=(OBSERVERS,))
def one_sentence_two_ways(found, say) -> str:
    sentence = word(found)
    traces = sentence["traces"]
    longest = max(written(traces[name]) for name in ("ar", "nar"))
    width = 60 + (longest + 1) * CELL
    height = 130 + len(traces["ar"]["trace"]) * (HIGH + GAP)
    drawing = Drawing(2 * width, height, say("AR and NAR, pass by pass", "AR 与 NAR，逐遍"))
    source(drawing, sentence, say)
    draw(drawing, 20, 60, say("AR, greedy", "AR 贪心"), traces["ar"], say)
    draw(drawing, 20 + width, 60, "NAR", traces["nar"], say)
    legend(drawing, height - 28, say)
    return str(drawing)


def written(record: dict) -> int:
    return sum(step["kept"] for step in record["trace"])


@figure(5, "traces", code=(OBSERVERS,))
def drafts(found, say) -> str:
    sentence = word(found)
    traces = sentence["traces"]
    longest = max(written(traces[name]) for name in ("speculative", "adaptive"))
    width = 60 + (longest + 4) * CELL
    drawing = Drawing(2 * width, 0, say("Drafts, kept and rejected", "草稿的保留与拒绝"))
    source(drawing, sentence, say)
    low = draw(
        drawing,
        20,
        60,
        say("speculative, K = 4: exactly greedy AR", "推测解码，K = 4：与贪心 AR 完全一致"),
        traces["speculative"],
        say,
    )
    tolerance = found["traces"]["options"]["adaptive"]["tolerance"]
    other = draw(
        drawing,
        20 + width,
        60,
        say(f"adaptive, within {tolerance:g} nats of AR's choice", f"自适应，距 AR 选择 {tolerance:g} nat 以内"),
        traces["adaptive"],
        say,
    )
    low = max(low, other)
    beam, ahead = traces["beam"]["passes"], traces["lookahead"]["passes"]
    drawing.text(
        20,
        low,
        say("beam search with 4 beams, and look-ahead (the same search):", "4 束搜索与前瞻（同一搜索）："),
        14,
        bold=True,
    )
    unit = (2 * width - 320) / max(beam, ahead)
    for line, (name, count) in enumerate(((say("beam search", "束搜索"), beam), (say("look-ahead", "前瞻"), ahead))):
        y = low + 14 + line * 26
        drawing.text(20, y + 15, name, 13)
        for number in range(count):
            drawing.box(130 + number * unit, y, unit - 3, 20, str(number + 1), KEPT, 12)
        drawing.text(136 + count * unit, y + 15, say(f"{count} passes", f"{count} 遍"), 13)
    legend(drawing, low + 78, say, rejected=True)
    drawing.size = (2 * width, low + 108)
    return str(drawing)
