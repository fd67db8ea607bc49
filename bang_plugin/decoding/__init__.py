"""Decoding beyond fairseq's SequenceGenerator: the cache that all modes share, and the modes."""
