"""Answers over HTTP, and the pages that show how they are written."""
