"""What a look-ahead search has read of a sentence, told as the trace of its best hypothesis."""

from typing import Any, Dict, List, NamedTuple

import numpy as np

from .tree import Node


class Reading(NamedTuple):
    """One decoder pass over a sentence's tree.

    Attributes:
        step: of the search, that asked for prefixes of so many tokens beside y_0.
        nodes: what the pass read.
    """

    step: int
    nodes: List[Node]


def trace_of(
    readings: List[Reading], tokens: List[int], probabilities: List[float], words: Any
) -> List[Dict[str, Any]]:
    """Records like those of ``stats.trace_records``, of the best hypothesis of a search that has ended.

    A pass writes the tokens of the steps that it answers, which are those up to the next pass. Its ``draft`` is what
    had been guessed of them, and so was read; the last guess may be another token than the one that was written. A
    record also has how many prefixes the pass ``read``, and how many of these the search ``asked`` for. A pass that
    only other hypotheses needed writes nothing.

    Args:
        readings: of all passes.
        tokens, probabilities: of the hypothesis.
        words: target dictionary.
    """
    key, records = readings[0].nodes[0].key, []
    keys = [key + np.array(tokens[:n], np.int32).tobytes() for n in range(len(tokens) + 1)]
    guesses: Dict[bytes, List[int]] = {}  # what has been read behind a prefix, best first
    ends = [*(reading.step for reading in readings[1:]), len(tokens)]
    for number, (reading, end) in enumerate(zip(readings, ends), start=1):
        behind: Dict[bytes, List[int]] = {}
        for node in reading.nodes:
            behind.setdefault(node.key[:-4], []).append(node.token)
        guesses |= {prefix: found + guesses.get(prefix, []) for prefix, found in behind.items()}
        place = slice(reading.step, end)
        written, draft = tokens[place], []
        for prefix, token in zip(keys[place], written):
            guessed = guesses.get(prefix, [])
            draft += [token] if token in guessed else guessed[:1]
            if token not in guessed:
                break
        records.append(
            {
                "pass": number,
                "tokens": [words[token] for token in written],
                "probabilities": probabilities[place],
                "kept": len(written),
                "draft": [words[token] for token in draft],
                "read": len(reading.nodes),
                "asked": sum(node.asked for node in reading.nodes),
            }
        )
    return records
