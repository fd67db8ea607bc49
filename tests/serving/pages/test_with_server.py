"""The page in Chromium, on the server itself."""

import pytest

from .conftest import barriers
from .test_trace_page import SHOWN


@pytest.mark.parametrize("decoding", ["speculative", "adaptive", "confident", "semi_nar", "nar"])
def test_races(served, hub, open_page, decoding):
    """Both texts are the hub's, every pass is there, and of each token what else was probable."""
    page = open_page(f"{served.url}/#text=a+b+c+d+e&decoding={decoding}&block_size=3", reduced_motion="reduce")
    page.locator("#summary:not(:empty)").wait_for()
    for i, kind in enumerate(["ar", decoding]):
        pane = page.locator("#panes > .pane").nth(i)
        options = {"block_size": 3} if kind not in ("ar", "nar") else {}
        options |= {"confidence": 0.7} if kind == "confident" else {}
        [expected] = hub.generate("a b c d e", decoding=kind, beam=1, **options)
        assert pane.locator(".text").inner_text() == expected["text"]
        assert pane.locator(".facts").inner_text().startswith(f"passes: {expected['passes']} · ")
        shown = pane.locator(f".flow > {SHOWN}")
        assert shown.count() == len(expected["tokens"])
        shown.first.focus()
        assert page.get_by_role("tooltip").locator("li").count() == 4
    assert barriers(page) == []


def test_beams(served, hub, open_page):
    """Tokens come when all hypotheses agree on them, and all of them come."""
    page = open_page(f"{served.url}/#text=a+b+c+d+e&decoding=speculative&beam=4", reduced_motion="reduce")
    page.locator("#summary:not(:empty)").wait_for()
    expected = hub.sample("a b c d e", beam=4)
    assert page.locator(".text").all_text_contents() == [expected] * 2
    assert page.locator(f".pane:first-child .flow > {SHOWN}").count() == len(expected.split()) + 1


def test_a_refusal_in_the_server_s_words(served, open_page):
    page = open_page(f"{served.url}/#text={'a+' * 50}&decoding=nar", reduced_motion="reduce")
    page.locator("#problem:not(:empty)").wait_for()
    assert "prompt: 51 tokens" in page.get_by_role("alert").inner_text()
    page.errors[:] = [line for line in page.errors if "422" not in line]  # Chromium tells of it itself
