"""Parts of ``python -m scripts.benchmark``, one file per comparison."""
