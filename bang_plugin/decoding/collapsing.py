"""`--collapse-repeats`: the official release's post-processing of NAR outputs, `post_processed_nar.py`."""

from typing import Any, Callable, NamedTuple

from torch import Tensor


class Marks(NamedTuple):
    """How a kind of pieces shows where words begin.

    Attributes:
        mark: what joining takes away.
        shows: whether a symbol has it.
        goes_on: whether a piece goes on with the word of the piece before it.
    """

    mark: str
    shows: Callable[[str], bool]
    goes_on: Callable[[str, str], bool]


SENTENCEPIECES = Marks("▁", lambda symbol: symbol.startswith("▁"), lambda piece, before: not piece.startswith("▁"))
WORD_PIECES = Marks(
    "##", lambda symbol: len(symbol) > 2 and symbol.startswith("##"), lambda piece, _: piece.startswith("##")
)
SUBWORD_NMT = Marks(
    "@@", lambda symbol: len(symbol) > 2 and symbol.endswith("@@"), lambda _, before: before.endswith("@@")
)
WORDS = Marks("", lambda symbol: True, lambda piece, before: False)


class Collapsing:
    """Drops what repeats its predecessor: pieces, then the words that the pieces left join to.

    The generator can tell words, since the dictionary's symbols show how they are joined: BERT's word pieces go on with
    `##`, sentencepieces begin words with `▁`, subword-nmt's go on after `@@`. Without such symbols each is a word.

    Args:
        dictionary: target dictionary.
    """

    def __init__(self, dictionary: Any):
        self.symbols, self.skipped = dictionary.symbols, (dictionary.bos(), dictionary.eos())
        kinds = (SENTENCEPIECES, WORD_PIECES, SUBWORD_NMT, WORDS)
        self.marks = next(kind for kind in kinds if any(map(kind.shows, self.symbols)))

    def places(self, tokens: Tensor) -> list[int]:
        """Which of an output's tokens are left.

        Begin symbols go, and end symbols but the last token, which ends the output; one piece of each run of equal
        pieces is left, and then one word of each run of equal words.

        Args:
            tokens: with the end symbol, `(len,)`.
        """
        *numbers, _ = tokens.tolist()
        distinct: list[int] = []
        for place, number in enumerate(numbers):
            if number not in self.skipped and not (distinct and numbers[distinct[-1]] == number):
                distinct.append(place)
        words = self.words([(place, self.symbols[numbers[place]]) for place in distinct])
        kept: list[int] = []
        before = None
        for word, places in words:
            if word != before:
                kept += places
            before = word
        return [*kept, len(numbers)]

    def words(self, pieces: list[tuple[int, str]]) -> list[tuple[str, list[int]]]:
        """Words with the places of their pieces, from pieces with theirs."""
        words: list[tuple[str, list[int]]] = []
        before = ""
        for place, piece in pieces:
            bare = piece.replace(self.marks.mark, "")
            if words and self.marks.goes_on(piece, before):
                word, places = words[-1]
                words[-1] = word + bare, [*places, place]
            else:
                # a text's first word piece has nothing to go on with: its mark is left
                words.append((piece if self.marks is WORD_PIECES else bare, [place]))
            before = piece
        return words
