"""Question answering: the answer from a question and a passage, on passages made from Debian's package lists."""

from ..descriptions import sources
from ..recipe import TWO_CORES, Recipe, two_core_decodings, two_core_modes
from .passages import rows

LONGEST = 48  # pieces of an answer
PASSAGE = 190  # pieces of question and passage that are read

SOURCE, RAW = sources(("en",), rows, targets_repeat=True)

RECIPE = Recipe(
    name="question_answering",
    title="The answer from a question and a passage on two Debian packages.",
    source=SOURCE,
    raw=RAW,
    training={
        **TWO_CORES,
        "--max-source-positions": PASSAGE + 2,
        "--max-target-positions": LONGEST,
        "--max-tokens": 4000,  # some 30 questions: a batch is counted by its longer side, the passages
    },
    modes=two_core_modes(updates=6000),
    decodings=two_core_decodings(longest=LONGEST),
    metrics={"em": ("em",), "f1": ("f1",)},
    references_as_written=True,
    pieces=8000,
    source_pieces=PASSAGE,
)
