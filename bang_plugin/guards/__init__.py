"""What fairseq lacks when something goes wrong: checks and repairs around its own functions.

``table.py`` lists them all; see ``docs/reliability.md`` for the faults that they meet.
"""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
