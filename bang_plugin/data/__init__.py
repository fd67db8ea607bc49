"""Dictionaries and datasets."""
