"""Figures 1 and 4: the prefix and the chain, and who sees whom, drawn from `Streams` itself."""

import torch

from bang_plugin.modules.streams import Streams, teacher_forcing, whole_chains

from ..registry import figure
from ..svg import CHAIN, FAINT, PREFIX, Drawing

STREAMS = "bang_plugin/modules/streams.py"
LENGTH, BLOCK = 6, 3
CELL, HIGH = 36, 26


def chained(lengths: list[int]) -> Streams:
    """A prefix y_0, y_1, … with a chain of so many masks after every token."""
    positions = torch.arange(len(lengths)).unsqueeze(0)
    return teacher_forcing(positions, None, torch.tensor([lengths]))


def settings() -> dict[str, Streams]:
    """Every decoding of a text of ``LENGTH`` tokens as chains after prefixes."""
    blocks = [BLOCK if slot % BLOCK == 0 else 0 for slot in range(LENGTH)]
    place = torch.arange(1, LENGTH + 1).unsqueeze(0)
    return {"AR": chained([1] * LENGTH), "semi-NAR": chained(blocks), "NAR": whole_chains(place, place)[0]}


def chains(streams: Streams) -> list[tuple[list[int], list[int]]]:
    """Of every chain the prefix slots that it sees, and the positions that its elements predict."""
    sees = streams.visibility()[0]
    slots = streams.prefix_positions.size(1)
    found: dict[int, tuple[list[int], list[int]]] = {}
    for row, (chain, element) in enumerate(zip(streams.chain[0].tolist(), streams.element[0].tolist())):
        if element:
            line = sees[streams.prefix_len + row]
            seen = [int(streams.prefix_positions[0, slot]) for slot in range(slots) if line[slot]]
            found.setdefault(chain, (seen, []))[1].append(int(streams.positions[0, streams.prefix_len + row]))
    return list(found.values())


@figure(1, code=(STREAMS,))
def basic_idea(found, say) -> str:
    words = {
        "AR": say("AR: a chain of one mask", "自回归 AR：链长为 1"),
        "semi-NAR": say(f"semi-NAR: chains of K = {BLOCK}", f"半非自回归 semi-NAR：链长 K = {BLOCK}"),
        "NAR": say("NAR: one chain after nothing", "非自回归 NAR：空前缀后一条链"),
    }
    panel = 8.6 * CELL
    drawing = Drawing(3 * panel + 30, 300, say("Prefix and chain", "前缀与掩码链"))
    for number, (name, streams) in enumerate(settings().items()):
        left = 20 + number * panel
        rows = chains(streams)
        drawing.text(left, 26, words[name], 15, bold=True)
        count = len(rows)
        drawing.text(left, 46, say(f"{count} pass{'es' * (count > 1)}", f"{count} 遍"), 13, fill=FAINT)
        for line, (seen, predicted) in enumerate(rows):
            y = 60 + line * (HIGH + 8)
            drawing.text(left, y + 17, str(line + 1), 12, fill=FAINT)
            for position in range(LENGTH + 1):
                x = left + 18 + position * CELL
                if position in seen:
                    drawing.box(x, y, CELL - 4, HIGH, f"y{position}", PREFIX)
                elif position in predicted:
                    drawing.box(x, y, CELL - 4, HIGH, f"M→{position}", CHAIN, 13)
    y = 272
    drawing.box(20, y, 30, 20, "y", PREFIX)
    drawing.text(56, y + 15, say("prefix: tokens written already, all seen", "前缀：已写出的词，全部可见"), 13)
    drawing.box(20 + 1.25 * panel, y, 30, 20, "M", CHAIN)
    told = say("chain: masks; each sees the prefix and the masks before it", "链：掩码；每个可见前缀及其前的掩码")
    drawing.text(56 + 1.25 * panel, y + 15, told, 13)
    return str(drawing)


@figure(4, code=(STREAMS,))
def visibility(found, say) -> str:
    tokens, streams_trained = 5, 3
    lengths = [min(streams_trained, tokens - slot) for slot in range(tokens)]
    streams = chained(lengths)
    sees = streams.visibility()[0]
    prefix = streams.prefix_len
    names = [f"y{slot}" for slot in range(prefix)]
    for chain, element, position in zip(streams.chain[0], streams.element[0], streams.positions[0, prefix:]):
        names.append(f"M{int(element)}|y{int(chain)}→{int(position)}")
    cell, left, top = 24, 120, 100
    drawing = Drawing(left + len(names) * cell + 330, top + len(names) * cell + 20, say("Who sees whom", "可见性"))
    drawing.text(
        10,
        22,
        say(
            f"{streams_trained} streams over {tokens} tokens: rows see columns",
            f"{tokens} 个词上的 {streams_trained} 条流：行可见列",
        ),
        15,
        bold=True,
    )
    for row, name in enumerate(names):
        y = top + row * cell
        drawing.text(left - 6, y + 16, name, 11, "end")
        # turned by hand: a label over each column
        x = left + row * cell + 15
        drawing.parts.append(
            f'<text x="{x}" y="{top - 6}" font-size="11" transform="rotate(-60 {x} {top - 6})">{name}</text>'
        )
        for column in range(len(names)):
            fill = ("white", PREFIX if column < prefix else CHAIN)[int(sees[row, column])]
            drawing.rect(left + column * cell, y, cell, cell, fill, "#c4ccd1")
    side = left + len(names) * cell + 24
    notes = [
        (PREFIX, say("a real token is seen", "可见真实词")),
        (CHAIN, say("an earlier mask of its own chain, or itself", "可见同一条链中更早的掩码或自身")),
        ("white", say("not seen", "不可见")),
    ]
    for number, (fill, told) in enumerate(notes):
        drawing.rect(side, top + 30 * number, 20, 20, fill)
        drawing.text(side + 28, top + 30 * number + 15, told, 12)
    for number, told in enumerate(
        [
            say("Mj|ys→i: element j of the chain after ys,", "Mj|ys→i：ys 之后那条链的第 j 个掩码，"),
            say("predicting yi; element j is stream j.", "预测 yi；第 j 个掩码即第 j 条流。"),
            say("Stream 1 is AR; the chain after y0 is", "流 1 即 AR；y0 之后的链"),
            say("what NAR writes in one pass.", "就是 NAR 一遍写出的内容。"),
        ]
    ):
        drawing.text(side, top + 120 + 20 * number, told, 12, fill=FAINT)
    drawing.rect(left, top, prefix * cell, prefix * cell, "none")
    drawing.rect(left, top + prefix * cell, len(names) * cell, (len(names) - prefix) * cell, "none")
    return str(drawing)
