"""NAR: one chain for the whole sentence (paper section 3.3), grown until every sentence has ended."""

from typing import Any, Callable, Optional

import torch

from ..errors import BangError
from .candidates import best_of_candidates
from .loop import Step
from .option_table import SAMPLING
from .registry import LOOP_OPTIONS, register_decoding
from .session import Session
from .state import DecodingState


@register_decoding(
    "nar",
    help="all tokens in one pass",
    likelihood="own",
    understands=[option for option in LOOP_OPTIONS if option != "prefix_size"],  # its chain sees none
    only_writing=(
        *("nar_candidates", "nbest", "lenpen", "lm_path", "lm_weight", "collapse_repeats"),
        *SAMPLING,
    ),
)
def nar(
    session: Session,
    state: DecodingState,
    nar_chunk: int,
    nar_candidates: int = 1,
    nbest: Optional[int] = None,
    lenpen: float = 1.0,
    lm_path: Any = None,
    lm_weight: Optional[float] = None,
    collapse_repeats: bool = False,
    sampling: Optional[bool] = None,
    sampling_topk: Optional[int] = None,
    sampling_topp: Optional[float] = None,
    temperature: Optional[float] = None,
) -> Callable[[], Step]:
    """Masks that predict y_1, y_2, … and see no real token but, with ``--nar-prefix start``, y_0.

    What a mask predicts does not depend on the masks behind it, so the chain grows ``nar_chunk`` masks
    a pass with its keys and values cached: no length is guessed, and no result depends on ``nar_chunk``.

    With ``nbest`` above 1 the best chains are written, with ``nar_candidates`` above 1 AR chooses among them, see
    ``best_of_candidates``. Else, with ``collapse_repeats``, end symbols before the first token are passed over, as in
    the release's post-processing. Samples are drawn for each token by itself.

    Raises:
        BangError: for samples or outputs without repeats where the best chains are asked for, or more of them than
            there are candidates.
    """
    state.sample_by(sampling, sampling_topk, sampling_topp, temperature)
    nbest = nbest or 1
    if lm_path is not None and nar_candidates == 1:
        raise BangError("--lm-path judges --nar-candidates, of which there is but one")
    if max(nar_candidates, nbest) > 1:
        asked = f"--nar-candidates {nar_candidates}" if nar_candidates > 1 else f"--nbest {nbest}"
        if state.sampler or state.temperature != 1:
            raise BangError(f"{asked} takes the best chains: leave out --sampling and --temperature")
        if state.limits.no_repeat_ngram_size:
            raise BangError(
                f"{asked} takes the best chains, whose tokens know nothing of each other: "
                "leave out --no-repeat-ngram-size"
            )
        if nbest > nar_candidates > 1:
            raise BangError(f"--nbest {nbest} is more than --nar-candidates {nar_candidates}")
        return best_of_candidates(session, state, nar_chunk, nar_candidates, nbest, lenpen, lm_path, lm_weight or 0.0)
    if collapse_repeats:
        state.pass_over_leading_ends()
    session.start_chain(state.eos)

    def step() -> Step:
        host = state.host
        size = min(nar_chunk, int((host.max_lengths + 1 - host.lengths).max()))
        tokens, scores = state.choose(*session.grow_chain(size))
        return Step(tokens, scores, torch.full_like(state.lengths, size))

    return step
