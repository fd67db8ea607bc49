"""Look-ahead: fairseq's own search, whose model has read most of the prefixes that it asks for already."""

from functools import partial
from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np
import torch
from fairseq.sequence_generator import EnsembleModel
from torch import Tensor

from ..errors import BangError
from ..modules.beams import rows_of, sentence_order
from ..modules.streams import TreeRows
from .autoregressive import SEARCH_OPTIONS, BeamSearch
from .draft_size import DraftSize
from .option_table import default, flag
from .options import asks, build_block_generator, check_models
from .readings import Reading, trace_of
from .registry import LOOP_OPTIONS, GeneratorRequest, register_decoding
from .session import ensemble_mean
from .speculative import speculative
from .stats import standard_observers
from .tree import Growth, Node, Tree, rounded, tree_rows

# the loop of one greedy beam has these too
_GREEDY_OPTIONS = {"beam", "nbest", *LOOP_OPTIONS}


@register_decoding(
    "speculative",
    help="what ar writes, in fewer passes",
    likelihood="ar",
    understands=[*SEARCH_OPTIONS, *LOOP_OPTIONS, "block_size", "draft_width"],
    builds_generator=True,
)
def speculative_search(request: GeneratorRequest) -> Any:
    """fairseq's search with look-ahead; where it would only be greedy, a loop that does without it.

    Raises:
        BangError: for a model that is not BANG, or an option that beam search has no meaning for.
    """
    args, cfg = request.args, request.cfg
    beams = getattr(args, "beam", default("beam"))
    searching = [
        name for name in SEARCH_OPTIONS if name not in _GREEDY_OPTIONS and asks(name, getattr(args, name, None))
    ]
    if beams == 1 and not searching and not request.restricted:
        return build_block_generator(request, mode=partial(speculative, block_size=cfg.block_size))
    if cfg.collapse_repeats:
        why = f"{flag(searching[0])} is given" if searching else f"here it is {beams}"
        raise BangError(f"--collapse-repeats with --decoding speculative needs greedy search, --beam 1: {why}")
    check_models(request.decoding, cfg, request.models)
    generator = request.fairseq_search(partial(LookaheadSearch, width=cfg.draft_width, depth=cfg.block_size))
    generator.model.traces = bool(cfg.print_trace or cfg.trace_file)
    generator.observers += standard_observers(request.decoding.name, cfg.print_trace, cfg.trace_file)
    return generator


class LookaheadSearch(BeamSearch):
    """fairseq's search over a ``LookaheadModel``.

    ``passes`` of a hypothesis are those that its sentence took part in; ``proposed`` are the prefixes that they read,
    ``kept`` those of them that the search asked for.

    Args:
        models: an ensemble of ``BangModel``.
        dictionary: target dictionary.
        width, depth: see ``DraftSize``.
        options: of fairseq's SequenceGenerator.
    """

    step_is_pass = False

    def __init__(
        self, models: List[Any], dictionary: Any, width: Optional[int], depth: int, beam_size: int, **options: Any
    ):
        model = LookaheadModel(models, dictionary, beam_size, width, depth)
        super().__init__(model, dictionary, beam_size=beam_size, **options)

    def _generate(self, sample: Dict[str, Any], *args: Any, **options: Any) -> List[List[Dict[str, Any]]]:
        results: List[List[Dict[str, Any]]] = super()._generate(sample, *args, **options)
        self.model.size.stop(self.model.steps)
        reader = self.model.reader
        if reader is None:
            return results
        for hypotheses, tree in zip(results, reader.all_trees):
            for hypothesis in hypotheses:
                hypothesis.update(passes=tree.passes, proposed=tree.read, kept=tree.asked)
            if reader.readings and hypotheses:
                tokens, chances = hypotheses[0]["tokens"].tolist(), hypotheses[0]["positional_scores"].exp().tolist()
                hypotheses[0]["trace"] = trace_of(reader.readings[tree], tokens, chances, self.tgt_dict)
        self.model.reader = None
        return results

    def passes_of(self, step: int) -> int:
        """See ``BeamSearch``."""
        reader = self.model.reader
        return reader.passes if reader is not None else super().passes_of(step)


class LookaheadModel(EnsembleModel):
    """fairseq's ensemble, which answers from what it has read and reads ahead when it cannot.

    Where reading ahead does not pay, it is fairseq's ensemble and no more.

    Attributes:
        size: how far it reads ahead.
        steps: of the search, in the batch that is being written.
        reader: of that batch; None if nothing is read ahead.
        traces: whether best hypotheses have a ``trace`` of what was read for them.
    """

    traces = False

    def __init__(self, models: List[Any], dictionary: Any, beams: int, width: Optional[int], depth: int):
        super().__init__(models)
        self.size = DraftSize(beams, width, depth, self.max_decoder_positions())
        self.never = {dictionary.pad(), dictionary.eos()}
        self.steps = 0
        self.reader: Optional[Reader] = None

    def forward_encoder(self, net_input: Dict[str, Tensor]) -> Any:
        """What fairseq's search hands on to the other methods."""
        encoder_outs = super().forward_encoder(net_input)
        source, self.steps = net_input["src_tokens"], 0
        growth = self.size.start(len(source), source.is_cuda)
        self.reader = Reader(list(self.models), encoder_outs, growth, self.never) if growth else None
        if self.reader and self.traces:
            self.reader.readings = {tree: [] for tree in self.reader.trees}
        return self.reader or encoder_outs

    def reorder_encoder_out(self, encoder_outs: Any, new_order: Tensor) -> Any:
        """Follow the search to its sentences that have not ended."""
        if not isinstance(encoder_outs, Reader):
            return super().reorder_encoder_out(encoder_outs, new_order)
        encoder_outs.follow(new_order)
        return encoder_outs

    def reorder_incremental_state(self, incremental_states: Any, new_order: Tensor) -> None:
        """Follow the beams, which a reader tells by their prefixes."""
        if self.reader is None:
            super().reorder_incremental_state(incremental_states, new_order)

    def forward_decoder(
        self, tokens: Tensor, encoder_outs: Any, incremental_states: Any, temperature: float = 1.0
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Log-probabilities of what follows each row of ``tokens``; no attention weights."""
        self.steps += 1
        if isinstance(encoder_outs, Reader):
            return encoder_outs.answer(tokens, temperature), None
        plain: Tuple[Tensor, Optional[Tensor]] = super().forward_decoder(
            tokens, encoder_outs, incremental_states, temperature
        )
        return plain


class Reader:
    """The sentences of a batch, what has been read of each, and the passes that read more.

    Args:
        models: an ensemble.
        encoder_outs: of each, one row a sentence.
        growth: how far to read ahead.
        never: tokens that nothing is read behind.

    Attributes:
        trees: of the sentences that the search has not ended.
        all_trees: of all, in the order of the batch.
        passes: so far.
        readings: of each tree, of all its passes; None if nobody wants to know.
    """

    def __init__(self, models: List[Any], encoder_outs: List[Dict[str, Any]], growth: Growth, never: Set[int]):
        self.models, self.encoder_outs, self.growth, self.never = models, encoder_outs, growth, never
        sentences = encoder_outs[0]["encoder_out"][0].size(1)
        self.caches = [model.decoder.new_cache(sentences) for model in models]
        self.trees = self.all_trees = [Tree() for _ in range(sentences)]
        self.readings: Optional[Dict[Tree, List[Reading]]] = None
        self.hidden = [m.decoder.embed_tokens.weight.new_empty(0, m.decoder.embed_tokens.embedding_dim) for m in models]
        self.beams = 1
        self.passes = 0

    def follow(self, order: Tensor) -> None:
        """Keep the sentences of the rows ``order``."""
        sentences = len(self.trees)
        if len(order) == sentences * self.beams:  # beams change places inside a sentence only
            return
        kept, self.beams = sentence_order(order, sentences, self.beams)
        if kept is None:
            return
        for i, model in enumerate(self.models):
            self.encoder_outs[i] = model.encoder.reorder_encoder_out(self.encoder_outs[i], kept)
            self.caches[i].select(kept)
        self.trees = [self.trees[i] for i in rows_of(kept)]

    def answer(self, tokens: Tensor, temperature: float) -> Tensor:
        """Log-probabilities of what follows ``tokens`` ``(sentences x beams, n)``: ``(sentences x beams, vocab)``."""
        prefixes = tokens.cpu().numpy().astype(np.int32).reshape(len(self.trees), self.beams, -1)
        keys = [[row.tobytes() for row in rows] for rows in prefixes]
        found = [tree.find(asked) for tree, asked in zip(self.trees, keys)]
        lacking = [i for i, nodes in enumerate(found) if nodes is None]
        if lacking:
            for tree, asked in zip(self.trees, keys):
                tree.prune(asked)
            self._drop_dead_slots()
            self._judge([self.trees[i] for i in lacking], temperature)
            self._forget(prefixes.shape[2] - 1)
            self._read(lacking, [self.trees[i].grow(keys[i], self.growth, self.never) for i in lacking])
            for i in lacking:
                found[i] = [self.trees[i].nodes[key] for key in keys[i]]
        return self._lprobs([node.row for nodes in found if nodes for node in nodes], temperature)

    def _lprobs(self, rows: List[int], temperature: float) -> Tensor:
        """Log-probabilities of the masks whose hidden states are the ``rows`` of those that are kept."""
        index = _sent(rows, self.hidden[0].device)
        lprobs = []
        for model, hidden in zip(self.models, self.hidden):
            logits = model.decoder.output_layer(hidden.index_select(0, index)).div_(temperature)
            lprobs.append(logits.log_softmax(-1, dtype=torch.float32))
        return ensemble_mean(lprobs)

    def _judge(self, trees: List[Tree], temperature: float) -> None:
        """Candidates of the prefixes that have been read and are still of use."""
        nodes = [node for tree in trees for node in tree.nodes.values() if not node.judged]
        if not nodes:
            return
        rows = [node.row + j for node in nodes for j in range(node.chain)]
        lprobs = self._lprobs(rows + [0] * (rounded(len(rows), 8) - len(rows)), temperature)
        best, tokens = lprobs.topk(min(self.growth.width + len(self.never), lprobs.size(1)), dim=-1)
        if best.is_cuda:
            best, tokens = torch.stack(
                [best.double(), tokens.double()]
            ).cpu()  # the one time that a pass waits for a GPU
        candidates = list(zip(best.tolist(), tokens.long().tolist()))
        first = 0
        for node in nodes:
            node.judge(candidates[first : first + node.chain])
            first += node.chain

    def _forget(self, depth: int) -> None:
        """Keep hidden states of what may still be asked for or has not been judged, where ``depth`` is asked for."""
        kept: List[int] = []
        for tree in self.trees:
            for node in tree.nodes.values():
                if node.row < 0:
                    continue
                first, count = node.row, 1 if node.judged else node.chain
                node.row = -1 if node.judged and node.depth < depth else len(kept)
                if node.row >= 0:
                    kept.extend(range(first, first + count))
        index = _sent(kept, self.caches[0].lengths.device)
        self.hidden = [hidden.index_select(0, index) for hidden in self.hidden]

    def _read(self, lacking: List[int], new: List[List[Node]]) -> None:
        """One decoder pass over ``new`` prefixes of the sentences ``lacking``."""
        self.passes += 1
        trees = [self.trees[i] for i in lacking]
        counts = np.zeros(len(self.trees), int)
        counts[lacking] = [len(nodes) for nodes in new]
        device = self.caches[0].lengths.device
        rows = TreeRows(*(x.to(device, non_blocking=True) for x in tree_rows(trees, new, self.caches[0].longest)))
        sentences = _sent(lacking, device) if len(lacking) < len(self.trees) else None
        advance = _sent(counts, device)
        for i, (model, encoder_out, cache) in enumerate(zip(self.models, self.encoder_outs, self.caches)):
            if sentences is not None:  # what else there is has become the cache's
                padding = encoder_out["encoder_padding_mask"]
                encoder_out = {**encoder_out, "encoder_padding_mask": [mask[sentences] for mask in padding]}
                encoder_out.pop("source_mask", None)
            streams = cache.plan_tree(rows, sentences)
            hidden = model.decoder.rows(rows.tokens, streams, encoder_out, cache, skip=rows.tokens.size(1)).flatten(
                0, 1
            )
            if len(rows.places) < len(hidden):
                hidden = hidden[rows.places]
            self.hidden[i] = torch.cat([self.hidden[i], hidden])
            cache.advance(advance, counts)
        row = len(self.hidden[0]) - len(rows.places)
        for tree, nodes in zip(trees, new):
            row = tree.add(nodes, row)
            if self.readings:
                self.readings[tree].append(Reading(nodes[0].depth, nodes))

    def _drop_dead_slots(self) -> None:
        """Give back slots as soon as more than half of them are of no use any more."""
        live = max(len(tree.nodes) for tree in self.trees)
        if self.caches[0].longest <= 2 * live:
            return
        used = [tree.compact() for tree in self.trees]
        kept = np.array([slots + [0] * (live - len(slots)) for slots in used])
        known = np.array([len(slots) for slots in used])
        for cache in self.caches:
            cache.keep_slots(_sent(kept, cache.lengths.device), _sent(known, cache.lengths.device), known)


def _sent(values: Any, device: torch.device) -> Tensor:
    """Whole numbers on a device, which is not waited for."""
    return torch.from_numpy(np.asarray(values, dtype=np.int64)).to(device, non_blocking=True)
