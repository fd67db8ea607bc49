"""What has been read of a sentence: a tree of prefixes, and which others to read with the next pass."""

import sys
from heapq import nlargest
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import torch

from ..modules.streams import TreeRows

# what may follow, best first: (log-probability, token)
Candidates = List[Tuple[float, int]]


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
        answer: tensor and row where its log-probabilities are.
        asked: whether the search has asked for it.
    """

    __slots__ = ("key", "token", "parent", "depth", "score", "chain", "candidates", "slot", "answer", "asked")

    def __init__(self, key: bytes, token: int, parent: Optional["Node"], score: float, chain: int):
        self.key, self.token, self.parent, self.score, self.chain = key, token, parent, score, chain
        self.depth: int = parent.depth + 1 if parent else 0
        self.candidates: List[Candidates] = parent.candidates[1:] if parent else []
        self.slot: Optional[int] = None
        self.answer: Optional[Tuple[torch.Tensor, int]] = None
        self.asked = False

    def child(self, token: int) -> bytes:
        """Key of the prefix with one more token."""
        return self.key + token.to_bytes(4, sys.byteorder)


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

    def has(self, keys: List[bytes]) -> bool:
        """Whether all of these prefixes, which the search asks for, have been read."""
        nodes = [self.nodes.get(key) for key in keys]
        for node in nodes:
            if node is not None and not node.asked:
                node.asked = True
                self.asked += 1
        return None not in nodes

    def grow(self, keys: List[bytes], growth: Growth) -> List[Node]:
        """Prefixes to read in the next pass, each behind the one that it continues.

        Args:
            keys: what the search asks for, all of one length.
            growth: how far to read ahead of it.
        """
        level = [self.nodes.get(key) or self._missing(key, growth.depth) for key in dict.fromkeys(keys)]
        new = [node for node in level if node.slot is None]
        for _ in range(min(growth.depth, growth.longest - level[0].depth) - 1):
            guesses = (
                (node.score + logprob, i, token)
                for i, node in enumerate(level)
                if node.candidates
                for logprob, token in node.candidates[0]
            )
            parents, level = level, []
            for score, i, token in nlargest(growth.width, guesses):
                key = parents[i].child(token)
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

    def add(self, new: List[Node], candidates: List[List[Candidates]]) -> None:
        """Note what a pass has read of ``new``: for each, the candidates that its chain gives."""
        for node, own in zip(new, candidates):
            node.score = _score(node.parent, node.token)
            node.candidates = own + node.candidates[len(own) :]
            node.slot = len(self.slot_depths)
            self.slot_depths.append(node.depth)
            self.nodes[node.key] = node

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


def _score(parent: Optional[Node], token: int) -> float:
    """Log-probability of the prefix ``parent`` and a token."""
    if parent is None:
        return 0.0
    known = dict((token, logprob) for logprob, token in parent.candidates[0])
    # a token that is not among the best may be as good as the last of them at most
    return parent.score + known.get(token, min(known.values(), default=0.0))


def tree_rows(trees: List[Tree], new: List[List[Node]], slots: int) -> TreeRows:
    """Rows of the ``new`` nodes of each tree, those of smaller ones filled up; ``slots``: most of them in use."""
    bsz, n = len(trees), max(map(len, new))
    chain_len = max(sum(node.chain for node in nodes) for nodes in new)
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


def _see(seen: np.ndarray, nodes: List[Node], taken: int) -> None:
    """Mark in ``seen`` ``(rows, slots)`` what each of ``nodes`` sees, whose slots come behind the ``taken`` ones."""
    rows: Dict[int, int] = {}
    for i, node in enumerate(nodes):
        parent = node.parent
        while parent is not None and id(parent) not in rows:
            seen[i, parent.slot] = True
            parent = parent.parent
        if parent is not None:
            seen[i] |= seen[rows[id(parent)]]
        seen[i, taken + i] = True
        rows[id(node)] = i
