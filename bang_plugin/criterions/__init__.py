"""BANG's training criterion."""
