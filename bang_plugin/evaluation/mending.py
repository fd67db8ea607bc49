"""Mending the tokenisation of outputs, as the scripts that published scores came from do before they count.

Models write word pieces, which set every mark of punctuation apart (`don ' t`), while the references of these data are
tokenised as treebanks are (`do n't`). The scripts bring the outputs, and them alone, near to the references:

- `squad`: `eval_on_unilm_qg.py` of GLGE for SQuAD question generation, in ProphetNet's repository (folder
  `GLGE_baselines`; the repository microsoft/glge has no scripts). PreDAT's script for ROCStories has the same rules.
- `quora`: PreDAT's `evaluate_quora.py`, which replaces no brackets, doubles single quotes and joins more numbers and
  letters.

GLGE's commands for XSum (`files2rouge`) and PersonaChat (`personachat/eval.py`) mend nothing, nor does any of these
scripts touch a reference beyond its case.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
ESCAPES = {"[UNK]": "UNK", "&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True)
class Rules:
    """What differs between the scripts.

    Attributes:
        symbols: tokens that are replaced.
        doubled_quotes: a single quote becomes two; else quotes open and close in turn.
        any_case: letters between full stops are an abbreviation in lower case too.
        many_dots: numbers that hold a full stop already go on at the next (`1.2.3`).
    """

    symbols: Mapping[str, str] = field(default_factory=dict)
    doubled_quotes: bool = False
    any_case: bool = False
    many_dots: bool = False


MENDING = {
    "squad": Rules(symbols={**BRACKETS, **ESCAPES}),
    "quora": Rules(doubled_quotes=True, any_case=True, many_dots=True),
}


def mend(text: str, rules: Rules) -> str:
    """An output with its tokens joined and replaced as `rules` say; tokens are separated by blanks."""
    return " ".join(_Mending(text.split(), rules).run())


class _Mending:
    """One text: `tokens` read from the left, `mended` as far as they have been read."""

    def __init__(self, tokens: list[str], rules: Rules):
        self.tokens, self.rules = tokens, rules
        self.mended: list[str] = []
        self.open = {'"': False, "'": False}
        self.after_hyphen = False

    def run(self) -> list[str]:
        """All tokens mended."""
        place = 0
        while place < len(self.tokens):
            after_hyphen, self.after_hyphen = self.after_hyphen, False
            taken = self.special(place)
            if not taken:
                self.word(self.tokens[place], after_hyphen)
            place += taken or 1
        return self.mended

    def word(self, token: str, after_hyphen: bool) -> None:
        """A token that no rule is about; it goes on with the word before a hyphen."""
        if after_hyphen and token[0] not in string.punctuation:
            self.mended[-1] += token
        else:
            self.mended.append(token)

    def special(self, place: int) -> int:
        """Apply the first rule that fits; returns how many tokens it took, 0 if none fits."""
        token = self.tokens[place]
        if token in self.rules.symbols:
            self.mended.append(self.rules.symbols[token])
            return 1
        if token == '"':
            return self.quote(token, "``", "''")
        if token == "'":
            return self.apostrophe(place)
        if token == "`" and self.rules.doubled_quotes:
            self.mended.append("``")
            return 1
        if token == ".":
            return self.full_stop(place)
        if token == "," and self.mended and _digits(self.mended[-1], ",") and _digits(self.after(place), ","):
            self.mended[-1] += "," + self.after(place)
            return 2
        return self.hyphen(place) if token == "-" else 0

    def after(self, place: int, distance: int = 1) -> str:
        """The token so far behind, or nothing."""
        return self.tokens[place + distance] if place + distance < len(self.tokens) else ""

    def quote(self, mark: str, opening: str, closing: str) -> int:
        """Quotes open and close in turn."""
        self.mended.append(closing if self.open[mark] else opening)
        self.open[mark] = not self.open[mark]
        return 1

    def apostrophe(self, place: int) -> int:
        """`don ' t` is `do n't`, `it ' s` is `it 's`; others are quotes."""
        following = self.after(place)
        if following == "t" and self.mended and self.mended[-1].endswith("n"):
            self.mended[-1] = self.mended[-1][:-1]
            self.mended.append("n't")
            return 2
        if following in ("s", "d", "ll"):
            self.mended.append("'" + following)
            return 2
        if self.rules.doubled_quotes:
            self.mended.append("''")
            return 1
        return self.quote("'", "`", "'")

    def full_stop(self, place: int) -> int:
        """Three are an ellipsis; one joins the halves of a number, or capitals."""
        following = self.after(place)
        if following == self.after(place, 2) == ".":
            self.mended.append("...")
            return 3
        if not self.mended:
            return 0
        if following.isdigit() and (
            _digits(self.mended[-1], ".") if self.rules.many_dots else self.mended[-1].isdigit()
        ):
            self.mended[-1] += "." + following
            return 2
        if self.letter(self.mended[-1]) and self.letter(following) and self.after(place, 2) == ".":
            end = place + 3
            # the scripts look for more letters one token too far and take two tokens of those that they join, so that
            # the last full stop comes twice: U.N. .
            while len(self.after(end)) == 1 and self.after(end).isupper() and self.after(end, 2) == ".":
                end += 2
            self.mended[-1] += "".join(self.tokens[place:end])
            return 2
        return 0

    def letter(self, token: str) -> bool:
        """Whether it may be one of an abbreviation's."""
        return len(token) == 1 and (self.rules.any_case or token.isupper())

    def hyphen(self, place: int) -> int:
        """Two are a dash; one between words joins them."""
        following = self.after(place)
        if following == "-":
            self.mended.append("--")
            return 2
        # as in the scripts, marks that stand in a row in `string.punctuation` count as one
        if place and following and self.mended[-1] not in string.punctuation and following[0] not in string.punctuation:
            self.mended[-1] += "-"
            self.after_hyphen = True
        else:
            self.mended.append("-")
        return 1


def _digits(token: str, mark: str) -> bool:
    """Whether a token, not empty, is of digits and such marks."""
    return bool(token) and all(character.isdigit() or character == mark for character in token)
