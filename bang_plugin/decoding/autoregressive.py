"""AR: fairseq's beam search and sampling, with its repeats forbidden on a CPU too, and told to observers."""

from typing import Any, Dict, List

import torch
from fairseq.search import DiverseBeamSearch
from fairseq.sequence_generator import SequenceGenerator

from .agreement import Told
from .hypothesis import Hypothesis
from .observers import BatchEvent, Observer, audience, subscribed
from .registry import TRACES, GeneratorRequest, register_decoding
from .repeats import RepeatBlock
from .stats import standard_observers

SEARCH_OPTIONS = ["beam", "nbest", "max_len_a", "max_len_b", "min_len", "match_source_len", "unnormalized", "lenpen"]
SEARCH_OPTIONS += ["unkpen", "prefix_size", "no_repeat_ngram_size", "sampling", "sampling_topk", "sampling_topp"]
SEARCH_OPTIONS += ["constraints", "prefix_allowed_tokens_fn", "temperature", "diverse_beam_groups"]
SEARCH_OPTIONS += ["diverse_beam_strength", "diversity_rate", "lm_path", "lm_weight"]


class BeamSearch(SequenceGenerator):
    """fairseq's generator; each of its hypotheses also tells how many decoder ``passes`` its sentence took.

    Attributes:
        observers: told of every batch; who has subscribed is told of every pass too.
        step_is_pass: whether each step of the search runs the decoder.
    """

    step_is_pass = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        blocker = self.repeat_ngram_blocker  # type: ignore[has-type]
        if blocker is not None:
            self.repeat_ngram_blocker = RepeatBlock(blocker.no_repeat_ngram_size)
        self.observers: List[Observer] = []
        self._finished: List[List[Dict[str, Any]]] = []

    @torch.no_grad()
    def generate(self, models: List[Any], sample: Dict[str, Any], **kwargs: Any) -> List[List[Dict[str, Any]]]:
        """Hypotheses of every sentence, best first; fairseq's dictionaries."""
        searched = sample
        if isinstance(self.search, DiverseBeamSearch):
            # which takes a sentence's number for its place in the batch
            searched = {name: value for name, value in sample.items() if name != "id"}
        self._finished = []
        # of the one hypothesis of a greedy search a trace can tell more
        alone = self.beam_size == 1 and self.step_is_pass
        tracing = [observer for observer in self.observers if observer.alternatives and alone]
        with Told(self, searched, [*tracing, *subscribed()]):
            results: List[List[Dict[str, Any]]] = super().generate(models, searched, **kwargs)
        for hypotheses in results:
            # one pass a step, and the search goes on for a sentence until its last hypothesis ends
            passes = max((len(h["tokens"]) for h in hypotheses), default=0)
            for hypothesis in hypotheses:
                hypothesis.setdefault("passes", passes)  # fewer where the model looks ahead
        batch = BatchEvent(sample, [[_hypothesis(h) for h in hypotheses] for hypotheses in results], self.tgt_dict)
        for observer in audience(self.observers):
            observer.on_batch(batch)
        return results

    def finalize_hypos(self, *args: Any, **kwargs: Any) -> Any:
        """fairseq's; what it has finished so far is kept at hand."""
        self._finished = kwargs["finalized"] if "finalized" in kwargs else args[5]
        return super().finalize_hypos(*args, **kwargs)

    def finished_of(self, row: int) -> List[Dict[str, Any]]:
        """Hypotheses of a sentence of the batch that have ended."""
        return self._finished[row] if self._finished else []

    def passes_of(self, step: int) -> int:
        """Decoder passes that a step of the search has taken, with those before it."""
        return step + 1


def _hypothesis(found: Dict[str, Any]) -> Hypothesis:
    tokens, scores = found["tokens"], found["positional_scores"]
    known = {name: found[name] for name in ("proposed", "kept", "trace") if name in found}
    return Hypothesis(tokens, scores, found["score"], passes=found["passes"], **{"kept": len(tokens), **known})


@register_decoding(
    "ar",
    help="fairseq's beam search",
    likelihood="ar",
    understands=[*SEARCH_OPTIONS, *TRACES],
    builds_generator=True,
)
def ar(request: GeneratorRequest) -> Any:
    """fairseq's search, of which stream 1 is the model."""
    generator = request.fairseq_search(BeamSearch)
    generator.observers += standard_observers("ar", request.cfg.print_trace, request.cfg.trace_file)
    return generator
