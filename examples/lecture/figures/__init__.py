"""Figures, each file a subject; `registry.figure` gives them their numbers."""
