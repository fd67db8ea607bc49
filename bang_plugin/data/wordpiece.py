"""``--bpe wordpiece``: BERT's word pieces from a vocabulary file on disk, by the ``tokenizers`` library."""

from dataclasses import dataclass, field

from fairseq.data.encoders import register_bpe
from fairseq.dataclass import FairseqDataclass

from ..errors import BangError
from .dictionary import read_symbols

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[X_SEP]", "[MASK]")


@dataclass
class WordpieceConfig(FairseqDataclass):
    """Options of ``Wordpiece``."""

    wordpiece_vocab: str = field(default="???", metadata={"help": "BERT vocabulary file, a symbol per line"})
    wordpiece_cased: bool = field(default=False, metadata={"help": "keep upper case and accents"})


@register_bpe("wordpiece", dataclass=WordpieceConfig)
class Wordpiece:
    """Text to word pieces and back.

    Decoding gives back the text as BERT splits it: punctuation stands alone and, unless cased, letters are lower
    case and without accents. Special symbols such as ``[SEP]`` in the text stay whole.

    Raises:
        BangError: if the vocabulary cannot be read or has no ``[UNK]``.
    """

    def __init__(self, cfg: WordpieceConfig):
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        symbols = [symbol for symbol, _ in read_symbols(cfg.wordpiece_vocab)]
        if "[UNK]" not in symbols:
            raise BangError(f"{cfg.wordpiece_vocab}: not a BERT vocabulary, it has no [UNK]")
        vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
        self.tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
        self.tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cfg.wordpiece_cased)
        self.tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self.tokenizer.add_special_tokens([symbol for symbol in SPECIAL if symbol in vocabulary])

    def encode(self, text: str) -> str:
        """Pieces separated by blanks; those that go on with a word begin with ``##``."""
        return " ".join(self.tokenizer.encode(text, add_special_tokens=False).tokens)

    def decode(self, pieces: str) -> str:
        """Words separated by blanks."""
        return f" {pieces}".replace(" ##", "").strip()

    def is_beginning_of_word(self, piece: str) -> bool:
        """Whether a piece does not go on with a word; fairseq masks whole words by it."""
        return not piece.startswith("##")
