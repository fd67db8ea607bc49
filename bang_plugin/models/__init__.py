"""BANG's encoder, decoder and the registered model."""
