"""Fixtures that these tests share with others."""

from tests.reliability.conftest import plain_text  # noqa: F401
