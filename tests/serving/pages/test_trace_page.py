"""The page of bang trace in Chromium: opened from its file, by keyboard, in the dark, in Chinese."""

import json
from pathlib import Path

import pytest

from bang_plugin.serving.trace_page import STATIC, read_trace, trace_page

from ...commands.test_trace import HOSTILE, written
from .conftest import barriers

SPECULATIVE = {
    "id": 1,
    "decoding": "speculative",
    "source": ["b", "a", "n", "k"],
    "score": -0.25,
    "passes": 3,
    "trace": [
        {"pass": 1, "tokens": ["B"], "probabilities": [0.99], "kept": 1, "draft": [], "alternatives": [[["P", 0.01]]]},
        {
            "pass": 2,
            "tokens": ["AE", "NG", "G", "</s>"],
            "probabilities": [0.8, 0.6, 0.5, 0.9],
            "kept": 2,
            "draft": ["AE", "N", "K"],
            "alternatives": [[["EY", 0.15], ["AA", 0.02]], [["N", 0.3]], [["K", 0.2]], []],
        },
        {"pass": 3, "tokens": ["K", "</s>"], "probabilities": [0.9, 0.95], "kept": 2, "draft": ["K"]},
    ],
}
ONE_PASS = {
    **{"id": 1, "decoding": "nar", "score": -0.5, "passes": 1},
    "trace": [{"pass": 1, "tokens": ["B", "AE", "N", "</s>", *"XYZVW"], "probabilities": [0.9] * 9, "kept": 4}],
}
SHOWN = "li:not([hidden]) > .chip"


@pytest.fixture
def page_of(tmp_path, open_page):
    """The page of traces, each a list of records."""

    def opened(*traces, anchor="", **options):
        read = {
            f"{i}.jsonl": read_trace(Path(written(tmp_path / f"{i}", *records))) for i, records in enumerate(traces)
        }
        (tmp_path / "t.html").write_text(trace_page("A title", read), encoding="utf-8")
        return open_page((tmp_path / "t.html").as_uri() + anchor, **options)

    return opened


def chips(page, pane=0):
    return page.locator(".pane").nth(pane).locator(f".flow > {SHOWN}").all_text_contents()


def test_grows_pass_by_pass(page_of):
    page = page_of([SPECULATIVE], [ONE_PASS])
    assert chips(page) == ["B", "AE", "NG", "K", "end"] and chips(page, 1) == ["B", "AE", "N", "end"]
    assert page.title() == "A title" and page.locator("#source").inner_text() == "b a n k"
    assert page.locator("h2").all_text_contents() == ["Speculative", "NAR, all at once"]
    assert "passes: 3 · tokens: 5 · tokens per pass: 1.7 · score: -0.25" in page.locator(".facts").first.inner_text()
    seen = []
    for name in ("To the start", "One step on", "One step on"):
        page.get_by_role("button", name=name).click()
        seen.append((chips(page), page.locator(".where").inner_text()))
    assert seen == [
        ([], "before the first pass"),
        (["B"], "pass 1 of 3"),
        (["B", "AE", "NG", "N", "K"], "pass 2 of 3"),
    ]
    rejected = page.locator(".flow .rejected:not([hidden]) .chip")
    assert rejected.all_text_contents() == ["N", "K"]
    assert "line-through" in rejected.first.evaluate("e => getComputedStyle(e).textDecorationLine")
    assert chips(page, 1) == ["B", "AE", "N", "end"]
    page.get_by_role("button", name="One step back").click()
    assert chips(page) == ["B"]
    assert len([url for url in page.asked if not url.startswith(("file:", "data:"))]) == 0


def test_colour_is_the_pass_and_shade_the_probability(page_of):
    page = page_of([SPECULATIVE])
    colour = "e => getComputedStyle(e).backgroundColor"
    found = page.locator(f".flow > {SHOWN}").evaluate_all(f"chips => chips.map({colour})")
    lightness, hues = zip(*((float(c.split("(")[1].split()[0]), float(c.split()[2].strip(")"))) for c in found))
    assert hues[1] == hues[2] and hues[3] == hues[4] and len({hues[0], hues[1], hues[3]}) == 3
    assert lightness[1] < lightness[2]  # 0.8 is darker than 0.6


def test_alternatives_on_hover_and_focus(page_of):
    page = page_of([SPECULATIVE])
    page.locator(f".flow > {SHOWN}").nth(1).hover()
    tip = page.get_by_role("tooltip")
    assert "AE · pass 2 · probability 80% · drafted one pass before, and verified" in tip.inner_text()
    assert [line.split("\n")[0] for line in tip.locator("li").all_inner_texts()] == ["AE", "EY", "AA"]
    page.keyboard.press("Escape")
    assert tip.count() == 0
    page.mouse.move(0, 0)
    page.locator(f".flow > {SHOWN}").nth(0).focus()
    assert "P" in tip.inner_text() and "1%" in tip.inner_text()
    page.keyboard.press("End")
    assert "The trace holds no alternatives." in tip.inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"


def test_by_keyboard_alone(page_of):
    page = page_of([SPECULATIVE, {**SPECULATIVE, "id": 7}])
    page.keyboard.press("ArrowLeft")  # a presenter's clicker sends PageUp and PageDown
    assert page.locator(".where").inner_text() == "pass 2 of 3"
    assert page.get_by_role("status").inner_text() == "pass 2: AE NG; rejected: N K"
    page.keyboard.press("PageDown")
    assert page.locator(".where").inner_text() == "pass 3 of 3"
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent"))
    assert (
        reached[:2] == ["Dark", "中文"] and "Next sentence" in reached and "Position" in reached and "Play" in reached
    )
    assert "B, pass 1, probability 99%" in reached  # one stop for all of an output
    assert not any(name.startswith("AE") for name in reached)
    page.locator(f".flow > {SHOWN}").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("AE, pass 2")
    assert page.locator(".where").inner_text() == "pass 3 of 3"  # the arrow moved among the tokens only
    assert page.locator("#sentence").evaluate("e => e.value") == "1"
    page.get_by_role("button", name="Next sentence").press("Enter")
    assert page.locator("#sentence").evaluate("e => e.value") == "7" and page.url.endswith("#7")


def test_plays(page_of):
    page = page_of([SPECULATIVE])
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    assert len(chips(page)) < 5
    page.get_by_text("pass 3 of 3", exact=True).wait_for()
    page.get_by_role("button", name="Play").wait_for()
    assert len(chips(page)) == 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barriers(page_of, scheme):
    """In every colour of a pass, and at every shade."""
    tokens = [f"t{i}" for i in range(6)]
    steps = [
        {"pass": n, "tokens": tokens, "probabilities": [0, 0.2, 0.5, 0.8, 1, 0.9], "kept": 5} for n in range(1, 10)
    ]
    page = page_of([{**SPECULATIVE, "trace": steps, "passes": 9}], color_scheme=scheme)
    page.locator(f".flow > {SHOWN}").first.focus()
    assert barriers(page) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    assert dark == (scheme == "dark")
    page.get_by_role("button", name="Light" if dark else "Dark").click()
    assert barriers(page) == []
    assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)") != dark


def test_chinese(page_of):
    page = page_of([SPECULATIVE], locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert page.locator(".where").inner_text() == "第 3 遍，共 3 遍" and chips(page)[-1] == "结束"
    page.locator(f".flow > {SHOWN}").first.focus()
    assert "概率 99%" in page.get_by_role("tooltip").inner_text()
    page.get_by_role("button", name="English").click()
    assert page.locator(".where").inner_text() == "pass 3 of 3" and chips(page)[-1] == "end"
    page.reload()  # is remembered
    assert page.locator("html").get_attribute("lang") == "en"


def test_hostile_text_is_shown_as_it_is(page_of):
    step = {"pass": 1, "tokens": HOSTILE, "probabilities": [1] * 8, "kept": 8, "alternatives": [[["<b>x</b>", 0.1]]]}
    page = page_of([{**SPECULATIVE, "source": HOSTILE[:1], "trace": [step], "passes": 1}])
    shown = [text.replace("\ufffd", "\ud800") for text in chips(page)]
    assert shown == HOSTILE and page.locator("#source").inner_text() == HOSTILE[0]
    page.locator(f".flow > {SHOWN}").first.focus()
    assert "<b>x</b>" in page.get_by_role("tooltip").inner_text()


def test_right_to_left_and_pieces(page_of):
    def one(number, tokens):
        step = {"pass": 1, "tokens": tokens, "probabilities": [0.5] * len(tokens), "kept": len(tokens)}
        return {"id": number, "score": 0, "passes": 1, "source": tokens, "trace": [step]}

    page = page_of([one(0, ["שלום", "עולם", "</s>"]), one(1, ["▁un", "do", "▁it"]), one(2, ["un", "##do", "it"])])
    first, second = (page.locator(f".flow > {SHOWN}").nth(i).bounding_box()["x"] for i in range(2))
    assert first > second
    page.locator(f".flow > {SHOWN}").first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "עולם"
    for number in ("1", "2"):
        page.locator("#sentence").select_option(number)
        assert page.locator("#source").inner_text() == "undo it" and chips(page) == ["un", "do", "it"]


def test_a_sentence_that_one_trace_lacks(page_of):
    page = page_of([SPECULATIVE], [{**ONE_PASS, "id": 2}], anchor="#2")
    assert page.locator("#sentence").evaluate("e => e.value") == "2"
    assert page.locator(".facts").first.inner_text() == "This trace does not have the sentence."


def test_both_languages_say_everything(open_page):
    """The same keys, none empty, and as many places to fill."""
    page = open_page("about:blank")
    words = page.evaluate(
        "source => import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'}))).then((m) => m.STRINGS)",
        (STATIC / "words.js").read_text("utf-8"),
    )
    english, chinese = words["en"], words["zh"]
    assert english.keys() == chinese.keys() and all(english.values()) and all(chinese.values())
    for key in english:
        assert {i for i in "0123" if f"{{{i}}}" in english[key]} == {i for i in "0123" if f"{{{i}}}" in chinese[key]}, (
            key
        )
    assert len(json.dumps(words)) > 1000
