"""The page at / in Chromium, against a small server that replays what was recorded."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from .conftest import barriers
from .stand_in import StandIn
from .test_trace_page import ONE_PASS, SHOWN, SPECULATIVE

WORDS = ["B", "AE", "NG", "K", "</s>"]
AR = {
    **{"id": 1, "score": -0.2, "passes": 5},
    "trace": [{"pass": i, "tokens": [w], "probabilities": [0.9], "kept": 1} for i, w in enumerate(WORDS, start=1)],
}
RECORDS = {"ar": AR, "speculative": SPECULATIVE, "nar": ONE_PASS, "semi_nar": ONE_PASS}


@pytest.fixture
def serve():
    """Starts stand-ins."""
    started = []

    def start(records=RECORDS, **options):
        started.append(StandIn(records, **options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def visit(serve, open_page):
    """A stand-in and its page, which does not move by itself; nothing but the stand-in can be reached."""

    def opened(anchor="", server=None, **options):
        server = server or serve()
        page = open_page(server.address + anchor, **{"reduced_motion": "reduce", **options})
        return server, page

    return opened


def write(page, text="b a n k"):
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Write").click()
    page.locator("#summary:not(:empty)").wait_for()


def pane(page, i):
    return page.locator("#panes > .pane").nth(i)


def test_race(visit):
    server, page = visit()
    write(page)
    assert [pane(page, i).locator("h2").inner_text() for i in (0, 1)] == ["AR, token by token", "Speculative"]
    assert pane(page, 0).locator(f".flow > {SHOWN}").all_text_contents() == ["B", "AE", "NG", "K", "end"]
    facts = [re.sub(r"[\d.]+ ms", "ms", pane(page, i).locator(".facts").inner_text()) for i in (0, 1)]
    assert facts == ["passes: 5 · ms · tokens: 5", "passes: 3 · ms · tokens: 5"]
    assert re.fullmatch(
        r"Speculative: 0.6 × the passes and [\d.]+ × the time of AR.", page.locator("#summary").inner_text()
    )
    assert page.locator("#words").inner_text() == "Both wrote the same text."
    # a warm-up of each, then each by itself, and the two that are shown are asked for alike
    asked = [(r["decoding"], r["beam"], r["stream"], r["trace"]) for r in server.requests]
    assert asked == [("ar", 1, True, True), ("speculative", 1, True, True)] * 2
    assert {request["prompt"] for request in server.requests} == {"b a n k"}
    page.get_by_role("button", name="Write").click()
    page.locator("#summary:not(:empty)").wait_for()
    page.locator("#stop").wait_for(state="hidden")
    assert len(server.requests) == 6  # it is warm now
    assert {urlsplit(url).netloc for url in page.asked if not url.startswith("data:")} == {
        urlsplit(server.address).netloc
    }


def test_races_on_one_clock(visit):
    _, page = visit(reduced_motion="no-preference")
    write(page)
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Pause").click()
    where = page.locator(".where")
    counts = []
    page.get_by_role("button", name="To the start").click()
    assert page.locator(".text:visible").count() == 0
    for _ in range(8):
        page.get_by_role("button", name="One step on").click()
        counts.append([pane(page, i).locator(".flow > li:not(.rejected):not([hidden])").count() for i in (0, 1)])
        assert re.match(r"[\d.]+ ms · [\d.]+ × slower than it was", where.inner_text())
    assert counts[0] == [1, 1] or counts[0] in ([1, 0], [0, 1])
    assert counts[-1] == [5, 5] and counts == sorted(counts)
    assert page.locator(".text:visible").all_text_contents() == ["B AE NG K"] * 2


def test_sliders_are_those_of_the_decoding(visit):
    server, page = visit()
    page.locator("#sliders label").first.wait_for()

    def shown():
        return page.locator("#sliders label:visible input").evaluate_all("inputs => inputs.map((one) => one.id)")

    assert shown() == ["block_size", "beam"]
    page.get_by_label("Beam (AR, speculative)").fill("3")
    assert shown() == ["block_size", "beam", "draft_width"]
    page.get_by_label("Draft width").fill("5")
    write(page)
    assert {k: v for k, v in server.requests[-1].items() if k in ("beam", "block_size", "draft_width")} == {
        **{"beam": 3, "block_size": 4, "draft_width": 5}
    }
    assert "draft_width" not in server.requests[-2] and server.requests[-2]["beam"] == 3
    expected = {
        "Adaptive": ["block_size", "tolerance", "beam"],
        "Confident": ["block_size", "confidence", "beam"],
        "Semi-NAR, by blocks": ["block_size", "beam"],
        "NAR, all at once": ["beam", "nar_candidates"],
    }
    for name, sliders in expected.items():
        page.get_by_role("radio", name=name).check()
        assert shown() == sliders, name
    page.get_by_label("Candidates").fill("8")
    assert page.locator("#sliders label:visible output").all_text_contents() == ["3", "8"]
    write(page)
    assert server.requests[-1]["nar_candidates"] == 8 and "beam" not in server.requests[-1]


def test_difference_of_the_texts(visit):
    _, page = visit("#text=b+a&decoding=nar")
    page.locator("#words:not(:empty)").wait_for()
    assert page.locator("#words del bdi").all_text_contents() == ["NG", "K"]
    assert page.locator("#words ins bdi").all_text_contents() == ["N"]
    assert "only AR, token by token: NG K only NAR, all at once: N" in page.locator("#words").text_content()


def test_words_that_differ(visit):
    _, page = visit()
    compare = "async ([a, b]) => (await import('./static/client.js')).difference(a, b)"
    cases = {
        ("", ""): [],
        ("a b", "a b"): [["a", "both"], ["b", "both"]],
        ("a b c", "a c"): [["a", "both"], ["b", "left"], ["c", "both"]],
        ("", "x"): [["x", "right"]],
        ("a x d", "a y z d"): [["a", "both"], ["x", "left"], ["y", "right"], ["z", "right"], ["d", "both"]],
    }
    for texts, words in cases.items():
        assert page.evaluate(compare, list(texts)) == words


def test_permalink(visit):
    server, page = visit("#text=a+%22b%22&decoding=semi_nar&block_size=7&beam=2&lang=zh")
    page.locator("#summary:not(:empty)").wait_for()
    assert server.requests[-1]["prompt"] == 'a "b"' and server.requests[-1]["block_size"] == 7
    assert server.requests[-2] == {"prompt": 'a "b"', "decoding": "ar", "beam": 2, "stream": True, "trace": True}
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    page.get_by_role("button", name="English").click()
    page.get_by_role("radio", name="NAR, all at once").check()
    link = parse_qs(urlsplit(page.get_by_role("link", name="Link to this").get_attribute("href")).fragment)
    assert link == {"text": ['a "b"'], "beam": ["2"], "decoding": ["nar"], "nar_candidates": ["1"], "lang": ["en"]}
    before = len(server.requests)
    page.evaluate("location.hash = '#text=c&decoding=speculative'")
    pane(page, 1).get_by_role("heading", name="Speculative").wait_for()
    page.locator("#summary:not(:empty)").wait_for()
    assert [r["prompt"] for r in server.requests[before:]] == ["c", "c"]


def test_by_keyboard_alone(visit):
    server, page = visit()
    page.locator("#sliders label").first.wait_for()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("b a n k")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # the fourth of the decodings
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # blocks of 5
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.locator("#summary:not(:empty)").wait_for()
    assert server.requests[-1]["decoding"] == "semi_nar" and server.requests[-1]["block_size"] == 5
    assert page.get_by_role("group", name="How to write").count() == 1
    assert page.get_by_role("slider", name="Block size").get_attribute("aria-valuetext") == "5"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barriers(visit, scheme):
    _, page = visit("#text=b+a&decoding=nar", color_scheme=scheme)
    page.locator("#words:not(:empty)").wait_for()
    assert barriers(page) == []


def test_narrow(visit):
    """Nothing is wider than a telephone."""
    _, page = visit("#text=b+a&decoding=speculative", viewport={"width": 360, "height": 740})
    page.locator("#summary:not(:empty)").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_chinese(visit):
    """All that the page says by itself is Chinese, but for names and units."""
    _, page = visit("#text=b+a&decoding=nar", locale="zh-CN")
    page.locator("#words:not(:empty)").wait_for()
    said = page.locator("[data-say], .facts, #summary, h2, summary, .where, .number").all_text_contents()
    said = [text for text in said if text not in ("English", "")]
    assert len(said) > 25 and all(re.search("[\u4e00-\u9fff]", text) for text in said)
    labels = page.locator("[aria-label]:visible").evaluate_all("all => all.map((one) => one.ariaLabel)")
    assert labels and all(re.search("[\u4e00-\u9fff]", text) for text in labels)


@pytest.mark.parametrize(
    "text, decoding, message",
    [
        ("too long", "nar", "It did not work: prompt: 99 tokens, with the end symbol, are more than 20"),
        ("b", "adaptive", "It did not work: the batch failed"),
    ],
)
def test_the_server_s_own_words(visit, text, decoding, message):
    _, page = visit(f"#text={text}&decoding={decoding}")
    page.locator("#problem:not(:empty)").wait_for()
    assert page.get_by_role("alert").inner_text() == message
    page.errors[:] = [line for line in page.errors if "422" not in line]  # Chromium tells of it itself
    assert page.locator("#stop").is_hidden()
    page.get_by_role("radio", name="Speculative").check()
    write(page)  # goes on as if nothing had been
    assert page.locator("#problem").inner_text() == ""


def test_no_server_any_more(visit, serve):
    server, page = visit()
    page.locator("#sliders label").first.wait_for()
    server.close()
    page.get_by_label("Text").fill("b")
    page.get_by_role("button", name="Write").click()
    page.locator("#problem:not(:empty)").wait_for()
    assert page.get_by_role("alert").inner_text() == "It did not work: the server does not answer"
    page.errors[:] = [line for line in page.errors if "ERR_CONNECTION_REFUSED" not in line]


def test_access_token(visit, serve):
    server, page = visit(server=serve(token="open sesame"))
    page.get_by_label("Access token").fill("open sesame")
    page.get_by_role("button", name="Use it").click()
    page.locator("#sliders label").first.wait_for()
    assert page.get_by_label("Access token").is_hidden()
    write(page)
    page.errors[:] = [line for line in page.errors if "401" not in line]
    assert "open" not in page.url and page.evaluate("JSON.stringify(localStorage)").count("sesame") == 0


def test_stop(visit, serve):
    server, page = visit("#text=b&decoding=nar", server=serve(seconds=0.5))
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert page.locator("#stop").is_hidden() and page.get_by_role("alert").inner_text() == ""


def test_hostile_answers(visit, serve):
    """What a model writes is text, in pictures, in the difference and in names of decodings."""
    hostile = "<img src=x onerror=alert(1)>"
    step = {"pass": 1, "tokens": [hostile, "</s>"], "probabilities": [0.5, 0.5], "kept": 2}
    _, page = visit("#text=%3Cb%3E&decoding=nar", server=serve({**RECORDS, "nar": {**ONE_PASS, "trace": [step]}}))
    page.locator("#words ins").first.wait_for()
    assert page.locator("#words ins bdi").all_text_contents() == hostile.split()
    assert page.locator(".flow").nth(1).locator(SHOWN).first.inner_text() == hostile
    assert page.locator("img").count() == 0 and page.get_by_label("Text").input_value() == "<b>"
