"""``index.html``: all slides in one file that needs no network, in Chinese and English, with speaker notes."""

import base64
import re
from html import escape
from pathlib import Path

from bang_plugin.evaluation.tables import format_cell

from . import discussion
from .build import Built
from .fonts import FAMILY, subset
from .language import LANGUAGES
from .packages import REVEAL, fetched
from .records import RECORDS, Origin, origins
from .registry import Item, items
from .texts import pair, spoken_of, texts

PAGE = Path(__file__).parent / "page"


def deck(built: Built) -> str:
    """The page."""
    slides = [opening()]
    for item in items():
        slides.append(left_out(item, built) if item.name in built.left_out else slide(item, built))
    slides += discussion_slides() if "discussion" not in built.left_out else []
    if built.left_out:
        slides.append(missing(built))
    slides.append(references())
    body = "\n".join(slides)
    reveal = fetched(REVEAL)
    scripts = [(reveal / "dist" / name).read_text(encoding="utf-8") for name in ("reveal.js", "plugin/notes.js")]
    styles = [(reveal / "dist" / name).read_text(encoding="utf-8") for name in ("reset.css", "reveal.css")]
    shape = (PAGE / "deck.html").read_text(encoding="utf-8")
    own = {name: (PAGE / name).read_text(encoding="utf-8") for name in ("deck.css", "deck.js")}
    letters = base64.b64encode(subset(body + shape + own["deck.js"])).decode()
    source = f"url(data:font/woff;base64,{letters}) format('woff')"
    face = f"@font-face{{font-family:'{FAMILY}';font-display:block;src:{source}}}"
    parts = {
        "STYLE": "\n".join([*styles, face, own["deck.css"]]),
        "SLIDES": body,
        # a script must not end early
        "SCRIPT": "\n".join([*scripts, own["deck.js"]]).replace("</script", "<\\/script"),
        "TITLE": escape(texts("en")["title"]),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], shape)


def both(english: str, chinese: str, tag: str = "span") -> str:
    """A text in both languages, of which the page shows one; HTML is taken as it is."""
    return "".join(
        f'<{tag} class="lang" lang="{code}">{text}</{tag}>' for code, text in zip(("en", "zh-Hans"), (english, chinese))
    )


def text(name: str) -> str:
    """One of the texts in both languages."""
    return both(*map(escape, pair(name)))


def notes(english: str, chinese: str) -> str:
    """What the speaker's window shows: the page puts one of the languages in."""
    return f'<aside class="notes" data-en="{escape(english)}" data-zh="{escape(chinese)}"></aside>'


def section(name: str, content: str, said: str, kind: str = "") -> str:
    return f'<section id="{name}" class="{kind}">{content}{said}</section>'


def opening() -> str:
    content = f"<h1>{text('title')}</h1><p>{text('subtitle')}</p><p class='hint'>{text('hint')}</p>"
    return section("opening", content, notes(*pair("opening")), "opening")


def heading(item: Item) -> str:
    titles = [escape(told["title"]) for told in spoken_of(item.kind, item.number)]
    kinds = {"figure": both("Figure", "图"), "table": both("Table", "表")}
    return f"<h2><span class='number'>{kinds[item.kind]} {item.number}</span> {both(*titles)}</h2>"


def slide(item: Item, built: Built) -> str:
    """A figure or a table with what it says, and where it comes from."""
    told = spoken_of(item.kind, item.number)
    points = [both(*map(escape, lines)) for lines in zip(*(one["points"] for one in told), strict=True)]
    shown = []
    for code in LANGUAGES:
        made = built.drawn[item.name, code]
        shown.append(inline(made, f"{item.stem}{code}") if isinstance(made, str) else html_table(made))
    found = origins(item.records, item.code)
    said = [f"{one['notes']}\n\n{spoken(found, code)}" for one, code in zip(told, LANGUAGES)]
    content = (
        f"{heading(item)}<div class='frame'><div class='fit {item.kind}'>{both(*shown, tag='div')}</div></div>"
        f"<ul class='points'>{''.join(f'<li>{point}</li>' for point in points)}</ul>{provenance(found)}"
    )
    return section(item.stem, content, notes(*said), item.kind)


def provenance(found: list[Origin]) -> str:
    """Path, command, data, seed and date of everything that a slide shows, behind a line that opens."""
    rows = "".join(
        f"<tr><td>{escape(one.path)}</td><td><code>{escape(one.command)}</code></td>"
        f"<td>{both(*map(escape, one.data))}</td>"
        f"<td>{escape(one.seed)}</td><td>{one.date}</td></tr>"
        for one in found
    )
    names = [("file", "文件"), ("command", "命令"), ("data", "数据"), ("seed", "种子"), ("date", "日期")]
    header = "".join(f"<th>{both(*pair)}</th>" for pair in names)
    days = [one.date for one in found]
    first = f"{escape(found[0].path)}" + (f" + {len(found) - 1}" if len(found) > 1 else "")
    return (
        f"<details class='origin'><summary>{both('Source', '来源')}: {first}, {max(days)}</summary>"
        f"<table><tr>{header}</tr>{rows}</table></details>"
    )


def spoken(found: list[Origin], code: str) -> str:
    """The same for the speaker."""
    which = list(LANGUAGES).index(code)
    return "\n".join(
        f"{one.path}: {one.command[:160]} ({one.data[which]}, seed {one.seed}, {one.date})" for one in found
    )


def inline(svg: str, name: str) -> str:
    """An SVG for a page that holds several: names that its parts refer to are its own."""
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return re.sub(r'((?:xlink:)?href)="#', rf'\1="#{name}-', svg)


def html_table(rows: list[dict]) -> str:
    def cell(value) -> str:
        kind = " class='n'" if isinstance(value, int | float) else ""
        return f"<td{kind}>{escape(format_cell(value))}</td>"

    header = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = "".join("<tr>" + "".join(map(cell, row.values())) + "</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{lines}</tbody></table>"


def left_out(item: Item, built: Built) -> str:
    """Where a figure or table will stand, with the commands that make what it lacks."""
    lines = [f"<li><code>{escape(RECORDS[name].command)}</code></li>" for name in built.left_out[item.name]]
    content = f"{heading(item)}<p>{text('not_recorded')}</p><ul>{''.join(lines)}</ul>"
    return section(item.stem, content, notes("", ""), "missing")


def missing(built: Built) -> str:
    """All records that are missing."""
    names = dict.fromkeys(name for lacking in built.left_out.values() for name in lacking)
    lines = [f"<li>{escape(RECORDS[name].path)}: <code>{escape(RECORDS[name].command)}</code></li>" for name in names]
    content = f"<h2>{text('missing')}</h2><ul class='small'>{''.join(lines)}</ul>"
    return section("missing", content, notes("", ""), "missing")


def discussion_slides() -> list[str]:
    """A slide for each question, with its command and what that wrote."""
    slides = []
    for number, answer in enumerate(discussion.answers(), start=1):
        ask, read = ([one[key] for one in spoken_of("discussion", number)] for key in ("ask", "read"))
        content = (
            f"<h2><span class='number'>{text('question')} {number}</span> {both(*map(escape, ask))}</h2>"
            f"<pre class='command'>{escape(answer['command'])}</pre>"
            f"<pre class='output'>{escape(answer['output'])}</pre>"
            f"<p>{both(*map(escape, read))}</p>"
        )
        slides.append(section(f"discussion{number}", content, notes(*read), "discussion"))
    return slides


def references() -> str:
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts("en")["references"])
    content = (
        f"<h2>{text('references_title')}</h2><ol class='small'>{lines}</ol><p class='hint'>{text('correction')}</p>"
    )
    return section("references", content, notes(*pair("correction")), "references")
