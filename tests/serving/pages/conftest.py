"""Debian's Chromium, driven by Playwright; whatever a page reports as an error fails its test."""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def chromium():
    """A browser without a window. Not for all of a session: while Playwright runs, so does an event loop of its own."""
    executable = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
    if not executable and not os.environ.get("CI"):
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable or CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens an address in a window of its own, with options of Playwright's ``new_context``."""
    windows, errors, asked = [], [], []

    def opened(address, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options})
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.errors, page.asked = errors, asked
        page.goto(address)
        windows.append(context)
        return page

    yield opened
    for window in windows:
        window.close()
    assert errors == []


# of every element with text of its own: text, and contrast of its colour with what it stands on (WCAG 2)
CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const brush = canvas.getContext("2d", {willReadFrequently: true});
  const over = (colours) => {  // painted one upon the other
    brush.clearRect(0, 0, 1, 1);
    for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(".hidden, script, option, :disabled, svg")) continue;
    const grounds = [];
    for (let e = element; e; e = e.parentElement) grounds.unshift(getComputedStyle(e).backgroundColor);
    const ground = over(["white", ...grounds]);
    const [a, b] = [luminance(ground), luminance(over([`rgb(${ground})`, getComputedStyle(element).color]))];
    found.push([element.textContent.trim().slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


def faint(page) -> list:
    """Texts with less contrast than WCAG AA asks for."""
    found = page.evaluate(CONTRASTS)
    assert len(found) > 10
    return [(text, round(contrast, 2)) for text, contrast in found if contrast < 4.5]


# what the browser itself computes as roles and names
UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea, meter")]
  .filter((e) => e.checkVisibility() && !e.closest("[role=tooltip]"))
  .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim()))
  .map((e) => e.outerHTML)"""
