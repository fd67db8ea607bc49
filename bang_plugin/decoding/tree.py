"""What has been read of a sentence: a tree of prefixes, and which others to read with the next pass."""

import math
import sys
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import torch

from ..modules.streams import TreeRows

# what may follow, best first: log-probabilities and tokens
Candidates = Tuple[List[float], List[int]]


class Growth(NamedTuple):
    """How far ahead a pass reads.

    Attributes:
        width: most prefixes of one length.
        depth: most tokens of a branch, the one that was asked for included; and masks of a chain.
        longest: most tokens of a prefix.
        chains: prefixes of one length, the most probable ones, that have a whole chain behind them instead of one
            mask. Most others will not be asked for, and their drafts even less.
    """

    width: int
    depth: int
    longest: int
    chains: int


class Node:
    """A prefix: the tokens from y_0 to the one that this node adds to its parent's.

    Attributes:
        key: those tokens, as 32-bit integers.
        depth: tokens before the last one.
        score: log-probability of the prefix, as far as it is known.
        chain: masks that are read behind it.
        candidates: for each place after it, what may stand there. What is not known from its own chain is from those
            of the prefixes that it continues.
        slot: its place in the cache; None as long as it has not been read.
        row: of the first mask's hidden state, where such are kept; -1 if it is not kept.
        judged: whether its candidates are its own chain's.
        asked: whether the search has asked for it.
    """

    __slots__ = ("key", "token", "parent", "depth", "score", "chain", "candidates", "slot", "row", "judged", "asked")

    def __init__(self, key: bytes, token: int, parent: Optional["Node"], score: float, chain: int):
        self.key, self.token, self.parent, self.score, self.chain = key, token, parent, score, chain
        self.depth: int = parent.depth + 1 if parent else 0
        self.candidates: List[Candidates] = parent.candidates[1:] if parent else []
        self.slot: Optional[int] = None
        self.row = -1
        self.judged = self.asked = False

    def judge(self, own: List[Candidates]) -> None:
        """Take note of the candidates of its chain; those that it continues have done so."""
        self.score = _score(self.parent, self.token)
        self.candidates = own + (self.parent.candidates[1 + len(own) :] if self.parent else [])
        self.judged = True


class Tree:
    """The prefixes of one sentence that the decoder has read and that may still be asked for.

    Attributes:
        nodes: by their keys, parents before children, in the order of their slots.
        slot_depths: depth of what each slot of the cache holds.
        passes, read, asked: decoder passes, prefixes that they read, and those of them that the search asked for.
    """

    def __init__(self) -> None:
        self.nodes: Dict[bytes, Node] = {}
        self.slot_depths: List[int] = []
        self.passes = self.read = self.asked = 0

    def find(self, keys: List[bytes]) -> Optional[List[Node]]:
        """These prefixes, which the search asks for; None unless all of them have been read."""
        found = []
        for key in keys:
            node = self.nodes.get(key)
            if node is not None:
                found.append(node)
                if not node.asked:
                    node.asked = True
                    self.asked += 1
        return found if len(found) == len(keys) else None

    def grow(self, keys: List[bytes], growth: Growth, never: Set[int]) -> List[Node]:
        """Read more with the next pass: the new prefixes, each behind the one that it continues.

        Args:
            keys: what the search asks for, all of one length.
            growth: how far to read ahead of it.
            never: tokens that nothing is read behind.
        """
        level = [self.nodes.get(key) or self._missing(key, growth.depth) for key in dict.fromkeys(keys)]
        new = [node for node in level if node.slot is None]
        for _ in range(min(growth.depth, growth.longest - level[0].depth) - 1):
            guesses = _guesses(level, growth.width, never)
            parents, level = level, []
            for score, i, token in guesses:
                key = parents[i].key + token.to_bytes(4, sys.byteorder)
                node = self.nodes.get(key)
                if node is None:
                    chain = growth.depth if len(level) < growth.chains else 1
                    node = Node(key, token, parents[i], score, chain)
                    new.append(node)
                level.append(node)
        self.passes += 1
        self.read += len(new)
        return new

    def _missing(self, key: bytes, chain: int) -> Node:
        parent, token = self.nodes.get(key[:-4]), int.from_bytes(key[-4:], sys.byteorder)
        node = Node(key, token, parent, _score(parent, token), chain)
        node.asked = True
        self.asked += 1
        return node

    def add(self, new: List[Node], row: int) -> int:
        """Note what a pass has read: hidden states of the masks from ``row`` on. Returns the row behind them."""
        for node in new:
            node.slot, node.row = len(self.slot_depths), row
            row += node.chain
            self.slot_depths.append(node.depth)
            self.nodes[node.key] = node
        return row

    def prune(self, keys: List[bytes]) -> None:
        """Forget what neither begins nor continues the prefixes that the search asks for now."""
        kept, below = set(), set(keys)
        for key in keys:
            node = self.nodes.get(key) or self.nodes.get(key[:-4])
            while node is not None and node.key not in kept:
                kept.add(node.key)
                node = node.parent
        for node in self.nodes.values():
            if node.parent and node.parent.key in below:
                below.add(node.key)
        self.nodes = {key: node for key, node in self.nodes.items() if key in kept or key in below}

    def compact(self) -> List[int]:
        """Slots that are still in use, which become the first ones, in their order."""
        nodes = list(self.nodes.values())
        used = [node.slot for node in nodes if node.slot is not None]
        for slot, node in enumerate(nodes):
            node.slot = slot
        self.slot_depths = [node.depth for node in nodes]
        return used


def _guesses(level: List[Node], width: int, never: Set[int]) -> List[Tuple[float, int, int]]:
    """What may follow the prefixes ``level``, the ``width`` best first: score, number of the prefix, token."""
    best: List[Tuple[float, int, int]] = []
    for i, node in enumerate(level):
        least = best[-1][0] if len(best) == width else -math.inf
        for logprob, token in zip(*node.candidates[0]) if node.candidates else ():
            if node.score + logprob <= least:
                break
            if token not in never:
                best.append((node.score + logprob, i, token))
        best = sorted(best, reverse=True)[:width]
    return best


def _score(parent: Optional[Node], token: int) -> float:
    """Log-probability of the prefix ``parent`` and a token."""
    if parent is None:
        return 0.0
    logprobs, tokens = parent.candidates[0]
    # a token that is not among the best may be as good as the last of them at most
    return parent.score + logprobs[tokens.index(token) if token in tokens else -1]


def tree_rows(trees: List[Tree], new: List[List[Node]], slots: int) -> TreeRows:
    """Rows of the ``new`` nodes of each tree, those of smaller ones filled up; ``slots``: most of them in use."""
    bsz, n = len(trees), rounded(max(map(len, new)), 4)
    chain_len = rounded(max(sum(node.chain for node in nodes) for nodes in new), 8)
    tokens, depths = np.zeros((2, bsz, n), int)
    chain, element = np.zeros((2, bsz, chain_len), int)
    slot_depths = np.zeros((bsz, slots + n), int)
    seen = np.zeros((bsz, n, slots + n), bool)
    for b, (tree, nodes) in enumerate(zip(trees, new)):
        taken, size = len(tree.slot_depths), len(nodes)
        tokens[b, :size] = [node.token for node in nodes]
        depths[b, :size] = [node.depth for node in nodes]
        slot_depths[b, : taken + size] = [*tree.slot_depths, *depths[b, :size]]
        _see(seen[b], nodes, taken)
        anchors = [i for i, node in enumerate(nodes) for _ in range(node.chain)]
        chain[b, : len(anchors)] = anchors
        element[b, : len(anchors)] = [j for node in nodes for j in range(1, node.chain + 1)]
    parts = dict(
        tokens=tokens,
        depths=np.concatenate([depths, np.take_along_axis(depths, chain, 1) + element], axis=1),
        slot_depths=slot_depths,
        seen=np.concatenate([seen, np.take_along_axis(seen, chain[:, :, None], 1)], axis=1),
        chain=chain,
        element=element,
        places=element.reshape(-1).nonzero()[0],
    )
    return TreeRows(**{name: torch.from_numpy(part) for name, part in parts.items()})


def rounded(count: int, step: int) -> int:
    """``count`` or a little more: oneDNN prepares for each new number of rows, which takes longer than a product."""
    return -(-count // step) * step


def _see(seen: np.ndarray, nodes: List[Node], taken: int) -> None:
    """Mark in ``seen`` ``(rows, slots)`` what each of ``nodes`` sees, whose slots come behind the ``taken`` ones."""
    rows: Dict[bytes, int] = {}
    for i, node in enumerate(nodes):
        slots, parent = [taken + i], node.parent
        while parent is not None and parent.key not in rows:
            slots.append(parent.slot)  # type: ignore[arg-type]  # what is not among the new ones has been read
            parent = parent.parent
        if parent is not None:
            seen[i] = seen[rows[parent.key]]
        seen[i, slots] = True
        rows[node.key] = i
