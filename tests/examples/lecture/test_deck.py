"""The deck in a real browser: no errors, nothing fetched, every slide fits, in both languages, with notes."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.lecture.language import LANGUAGES
from examples.lecture.registry import items
from examples.lecture.texts import texts

PICTURES = Path(__file__).parent / "pictures"
SLIDES = [*(item.stem for item in items()), *(f"discussion{n}" for n in range(1, 7))]
# what is shown of a slide but does not lie within it; shapes inside a drawing count by the drawing
OUTSIDE = """name => {
  const slide = document.getElementById(name), room = slide.getBoundingClientRect(), found = [];
  for (const part of slide.querySelectorAll("*:not(svg *):not(details table, details table *)")) {
    const box = part.getBoundingClientRect();
    if (box.width && (box.right > room.right + 1 || box.bottom > room.bottom + 1 || box.left < room.left - 1))
      found.push(part.outerHTML.slice(0, 80));
  }
  for (const part of slide.querySelectorAll(".frame, pre"))
    if (part.scrollHeight > part.clientHeight + 1 || part.scrollWidth > part.clientWidth + 1)
      found.push(part.className);
  return found;
}"""
GO = "name => { const at = Reveal.getIndices(document.getElementById(name)); Reveal.slide(at.h, at.v); }"


@pytest.fixture
def deck(lecture, open_page):  # noqa: F811
    def opened(language: str = "en", **options):
        viewport = {"viewport": {"width": 1280, "height": 720}}
        page = open_page(f"file://{lecture.folder}/index.html?lang={language}", **{**viewport, **options})
        page.wait_for_function("Reveal.isReady() && document.fonts.status == 'loaded'")
        return page

    return opened


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_slide_fits_and_is_in_its_language(deck, language):
    page = deck(language)
    assert page.evaluate("[...document.querySelectorAll('.slides > section')].map(slide => slide.id)") == [
        *("opening", *SLIDES, "references")
    ]
    for name in ("opening", *SLIDES, "references"):
        page.evaluate(GO, name)
        assert page.evaluate(OUTSIDE, name) == [], name
        shown = page.inner_text(f"#{name}")
        if name != "references":
            assert bool(re.search("[\u4e00-\u9fff]", shown.replace("中文", ""))) == (language == "zh"), name
    assert page.errors == [] and [url[:5] for url in page.asked] in (["file:"], ["file:", "data:"])


def test_the_language_is_switched_and_the_speaker_told(deck):
    page = deck()
    english, chinese = (texts(language)["figure"]["4"] for language in LANGUAGES)
    page.evaluate(GO, "fig04")
    assert english["title"] in page.inner_text("#fig04 h2")
    notes = "document.querySelector('#fig04 aside.notes').textContent"
    assert page.evaluate(notes).startswith(english["notes"]) and "bang_plugin/modules/streams.py" in page.evaluate(
        notes
    )
    page.click("#language")
    assert chinese["title"] in page.inner_text("#fig04 h2") and page.evaluate(notes).startswith(chinese["notes"])
    page.keyboard.press("l")
    assert english["title"] in page.inner_text("#fig04 h2")


def test_the_source_of_a_table_opens(deck):
    page = deck()
    page.evaluate(GO, "table05")
    page.click("#table05 summary")
    told = page.inner_text("#table05 details")
    for part in ("dial_spelling.json", "python -m scripts.dial measure", "CMU pronouncing dictionary", "2026-"):
        assert part in told


def test_tables_in_the_deck_are_those_of_the_files(deck, lecture):
    page = deck()
    page.evaluate(GO, "table12")
    cells = page.eval_on_selector_all("#table12 .lang:lang(en) td.n", "cells => cells.map(cell => cell.textContent)")
    file = (lecture.folder / "tables" / "table12.md").read_text()
    assert len(cells) > 10 and all(cell in file for cell in cells)


def seen(page, name: str) -> np.ndarray:
    page.evaluate(GO, name)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize((320, 180))
    return np.asarray(picture, dtype=float)


@pytest.mark.parametrize("name", ["fig01", "fig04"])
def test_two_slides_look_as_they_did(deck, name):
    """Tolerant: other fonts' edges may differ, but not what stands where."""
    picture = seen(deck(), name)
    file = PICTURES / f"{name}.png"
    expected = np.asarray(Image.open(file).convert("RGB"), dtype=float)
    assert np.abs(picture - expected).mean() < 4, f"if that is meant, replace {file}"
    other = np.asarray(
        Image.open(PICTURES / ("fig04.png" if name == "fig01" else "fig01.png")).convert("RGB"), dtype=float
    )
    assert np.abs(picture - other).mean() > 8  # the comparison sees a difference
