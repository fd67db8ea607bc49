"""Building blocks of BANG's decoder."""
