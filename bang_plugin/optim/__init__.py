"""Optimizers beyond fairseq's."""
