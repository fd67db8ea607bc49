"""Question answering: the answer from a question and a passage, on passages made from Debian's package lists."""

from ..descriptions import sources
from ..recipe import Recipe, short_outputs, two_core_decodings, two_core_modes
from .passages import rows

LONGEST = 48  # pieces of an answer
PASSAGE = 190  # pieces of question and passage that are read

SOURCE, RAW = sources(("en",), rows, targets_repeat=True)

RECIPE = Recipe(
    name="question_answering",
    title="The answer from a question and a passage on two Debian packages.",
    source=SOURCE,
    raw=RAW,
    training=short_outputs(PASSAGE, LONGEST),
    modes=two_core_modes(updates=6000),
    decodings=two_core_decodings(longest=LONGEST),
    metrics={"em": ("em",), "f1": ("f1",)},
    references_as_written=True,
    pieces=8000,
    source_pieces=PASSAGE,
)
