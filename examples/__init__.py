"""One folder per table of the paper or application: ``python -m examples.NAME prepare|train|generate|score``."""
