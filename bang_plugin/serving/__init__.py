"""A model over HTTP: ``bang serve``, see docs/serving.md.

Requests become jobs (``jobs``), which wait in a bounded queue and are decoded together where they ask for the same
(``queue``), by one thread (``engine``). ``schema`` says what may be asked for, ``app`` how it is asked and answered.
The page is in ``static``; ``trace_page`` makes one of a trace.
"""
