"""What ``nstream_loss`` logs: sums per batch, and the metrics that fairseq makes of them."""

import math
from functools import partial
from typing import Any, Optional

import torch
from fairseq import metrics, utils
from fairseq.logging.meters import MetersDict
from torch import Tensor

MODES = ("ar", "streams", "nar")  # what an update may train
SUMMED = ("batches", "phase", "loss", "size", "share", "nll", "correct", "pairs")  # what a name ends in


def statistics(name: str, nll: Tensor, correct: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """Sums over the pairs ``counted``, left on their device."""
    return {
        f"{name}_nll": (nll * counted).sum(),
        f"{name}_correct": (correct & counted).sum(),
        f"{name}_pairs": counted.sum(),
    }


def reduce(logging_outputs: list[dict[str, Any]]) -> None:
    """Log what the batches of an update or of a validation add up to, all in base 2 and accuracy in percent.

    - ``loss``: the expected loss of an update;
    - ``nll_loss`` and ``ppl``: of AR, as fairseq's other models have them, or of NAR where it alone is trained;
    - ``<name>_nll`` and ``<name>_accuracy`` of ``ar``, ``nar``, ``stream<ngram>`` and ``all`` streams together;
    - ``nar_ppl`` and ``stream<ngram>_ppl``;
    - ``phase``, in training with ``--ar-updates``: 1 while AR alone is trained, then 2.
    """
    total = _totals(logging_outputs)
    if "phase" in total:
        metrics.log_scalar("phase", round(total["phase"] / (total["batches"] or 1)), weight=0)  # no mean: the last one
    share = {mode: total[f"{mode}_share"] / (total["batches"] or 1) for mode in MODES if f"{mode}_share" in total}
    for mode in share:
        metrics.log_scalar(f"_{mode}_share", share[mode])
        if f"{mode}_loss" in total:
            size = total[f"{mode}_size"]
            metrics.log_scalar(f"_{mode}_loss", total[f"{mode}_loss"] / (size or 1) / math.log(2), size)
    metrics.log_derived("loss", _expected_loss, priority=10)
    names = {key.removesuffix("_pairs") for key in total if key.endswith("_pairs") and total[key]}
    single = "ar" if "ar_pairs" in total else "nar" if share.get("nar") == 1 else None
    for name in sorted(names, key=lambda name: (name != single, name)):
        pairs = total[f"{name}_pairs"]
        nll = total[f"{name}_nll"] / pairs / math.log(2)
        for key, ppl in [("nll_loss", "ppl")] * (name == single) + [(f"{name}_nll", f"{name}_ppl")]:
            metrics.log_scalar(key, nll, pairs, round=3)
            if ppl not in ("ar_ppl", "all_ppl"):
                metrics.log_derived(ppl, partial(_perplexity, nll=key))
        metrics.log_scalar(f"{name}_accuracy", 100.0 * total[f"{name}_correct"] / pairs, pairs, round=2)


def _totals(logging_outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over batches and workers, fetched from their device in one go."""
    total: dict[str, Any] = {}
    for log in logging_outputs:
        for key in log:
            if key.rpartition("_")[2] in SUMMED:
                total[key] = total.get(key, 0) + log[key]
    tensors = {key: value for key, value in total.items() if torch.is_tensor(value)}
    if tensors:
        total.update(zip(tensors, torch.stack([value.double() for value in tensors.values()]).tolist()))
    return total


def _mean(meters: MetersDict, key: str) -> Optional[float]:
    """What a meter holds, or None if nothing was logged since it was reset."""
    return meters[key].avg if key in meters and meters[key].val is not None else None


def _expected_loss(meters: MetersDict) -> Optional[float]:
    """Of the kinds of update that were logged, weighted by their shares."""
    logged = [(_mean(meters, f"_{mode}_share"), _mean(meters, f"_{mode}_loss")) for mode in MODES]
    parts = [(share, loss) for share, loss in logged if share is not None and loss is not None]
    total = sum(share for share, _ in parts)
    return round(sum(share * loss for share, loss in parts) / total, 3) if total else None


def _perplexity(meters: MetersDict, nll: str) -> Optional[float]:
    mean = _mean(meters, nll)
    return None if mean is None else utils.get_perplexity(mean)
