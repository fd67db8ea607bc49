"""Vocabularies of transformers' models as dictionaries of ours, every symbol at the index that it has there."""

from dataclasses import dataclass
from pathlib import Path

from ..data.dictionary import BertDictionary
from ..errors import BangError

# XProphetNet puts these before the sentencepieces, of which it leaves out the first three (<unk>, <s>, </s>)
BEFORE_PIECES = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *(f"[unused{i}]" for i in range(10)))
CONTROL_PIECES = 3


@dataclass(frozen=True)
class Vocabulary:
    """Symbols in the order of the embedding's rows, and the file that text is split with.

    Attributes:
        path: where they were read.
        symbols: special ones included.
        tokeniser: file to lay beside the checkpoint: ``vocab.txt`` or ``*.model``.
        contents: of that file.
    """

    path: Path
    symbols: list[str]
    tokeniser: str
    contents: bytes

    def index(self, symbol: str) -> int:
        """Row of a symbol that there is."""
        return self.symbols.index(symbol)

    def check_rows(self, rows: int) -> None:
        """Compare with the embedding, whose last rows may belong to no symbol.

        Raises:
            BangError: if it has fewer rows than there are symbols.
        """
        if len(self.symbols) > rows:
            raise BangError(f"{self.path}: {len(self.symbols)} symbols, but the model's embedding has {rows} rows")


def word_pieces(path: Path) -> Vocabulary:
    """BERT's vocabulary, a symbol per line.

    Raises:
        BangError: if it cannot be read, or lacks one of BERT's special symbols.
    """
    symbols = BertDictionary.load(str(path)).symbols
    return Vocabulary(path, symbols, "vocab.txt", "".join(f"{symbol}\n" for symbol in symbols).encode())


def sentence_pieces(path: Path) -> Vocabulary:
    """XProphetNet's: a sentencepiece model.

    Raises:
        BangError: if it is no such model.
    """
    import sentencepiece

    contents = path.read_bytes()
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=contents)
        pieces = [model.id_to_piece(i) for i in range(CONTROL_PIECES, len(model))]
    except (RuntimeError, TypeError) as error:
        raise BangError(f"{path}: not a sentencepiece model") from error
    return Vocabulary(path, [*BEFORE_PIECES, *pieces], "sentencepiece.model", contents)
