"""Debian's Chromium, driven by Playwright; whatever a page reports as an error fails its test."""

import os
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def chromium():
    """A browser without a window. Not for all of a session: while Playwright runs, so does an event loop of its own."""
    executable = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
    if not executable and not os.environ.get("CI"):
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable or CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens an address in a window of its own, with options of Playwright's ``new_context``."""
    windows, errors, asked = [], [], []

    def opened(address, **options):
        usual = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
        context = chromium.new_context(**{**usual, **options})
        page = context.new_page()
        page.set_default_timeout(60_000)
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


def barriers(page) -> list:
    """What axe finds that somebody could not use or read: names, roles, contrast and so on."""
    found = Axe().run(page).response["violations"]
    return [(rule["id"], node["html"][:200], node["failureSummary"]) for rule in found for node in rule["nodes"]]
