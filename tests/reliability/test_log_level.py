"""fairseq's DEBUG noise is turned off, and stays on for whoever asked for it."""

import logging

import pytest

from bang_plugin.guards import log_level


@pytest.mark.parametrize("wish, level", [(None, logging.INFO), ("INFO", logging.INFO), ("DEBUG", logging.DEBUG)])
def test_level(monkeypatch, wish, level):
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    monkeypatch.delenv("LOGLEVEL", raising=False)
    if wish:
        monkeypatch.setenv("LOGLEVEL", wish)
    log_level.install()
    assert root.level == level


def test_chosen_levels_stay(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.ERROR)
    log_level.install()
    assert root.level == logging.ERROR
