"""Tokenisers from their files: sentencepiece models and BERT vocabularies."""

from pathlib import Path

from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig

from ..errors import BangError, first_line
from .wordpiece import Wordpiece, WordpieceConfig


def word_pieces(vocab: Path, cased: bool = False) -> Wordpiece:
    """BERT's word pieces.

    Raises:
        BangError: if the file is no such vocabulary.
    """
    return Wordpiece(WordpieceConfig(wordpiece_vocab=str(vocab), wordpiece_cased=cased))


def sentence_pieces(model: Path) -> SentencepieceBPE:
    """A sentencepiece model.

    Raises:
        BangError: if the file is none.
    """
    try:
        return SentencepieceBPE(SentencepieceConfig(sentencepiece_model=str(model)))
    except (OSError, RuntimeError) as error:
        raise BangError(f"{model}: not a sentencepiece model ({first_line(error)[:100]})") from error
