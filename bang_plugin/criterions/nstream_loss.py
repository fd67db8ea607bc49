"""Criterion ``nstream_loss``: cross-entropy of AR, NAR or several streams (paper section 3.2)."""

import hashlib
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from fairseq import metrics, utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from ..errors import BangError
from ..modules.streams import empty_prefix_chain


@dataclass
class NStreamLossConfig(FairseqDataclass):
    nar_ratio: float = field(
        default=0.0, metadata={"help": "share of updates that train pure NAR: 0 AR only, 1 NAR only"}
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "epsilon of label smoothing over the whole vocabulary, the target included"}
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    seed: int = II("common.seed")


def smoothed_cross_entropy(logits, target, epsilon: float):
    """Label-smoothed and plain negative log-likelihood, as torch's ``cross_entropy`` defines them.

    Args:
        logits: ``(pairs, vocab)``.
        target: ``(pairs,)``.
        epsilon: mass that is spread over all types, the target included.

    Returns:
        two tensors ``(pairs,)`` in nats.
    """
    lprobs = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    nll = -lprobs.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return (1 - epsilon) * nll - epsilon * lprobs.mean(-1), nll


def trains_nar(nar_ratio: float, seed: int, update: int) -> bool:
    """Whether an update trains NAR: a coin that every worker throws alike."""
    digest = hashlib.sha256(f"{seed} {update}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < nar_ratio * 2**64


@register_criterion("nstream_loss", dataclass=NStreamLossConfig)
class NStreamLoss(FairseqCriterion):
    """Mean cross-entropy of the tokens that the chains predict.

    Each training update is AR or NAR by ``--nar-ratio``; validation computes both that are trained and
    weights them by the ratio.

    Raises:
        BangError: for values out of range.
    """

    def __init__(self, task, nar_ratio=0.0, label_smoothing=0.0, sentence_avg=False, seed=1):
        super().__init__(task)
        for name, value in (("--nar-ratio", nar_ratio), ("--label-smoothing", label_smoothing)):
            if not 0 <= value <= 1:
                raise BangError(f"{name} must lie between 0 and 1, not {value}")
        self.nar_ratio, self.epsilon = nar_ratio, label_smoothing
        self.sentence_avg, self.seed = sentence_avg, seed

    def forward(self, model, sample, reduce=True):
        """
        Returns:
            the summed loss, its sample size and the values to log.
        """
        if model.training:
            nar = trains_nar(self.nar_ratio, self.seed, model.num_updates)
            shares = {"nar" if nar else "ar": 1.0}
        else:
            shares = {"ar": 1 - self.nar_ratio, "nar": self.nar_ratio}
        log = {
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
        }
        loss, sample_size = 0.0, 0
        for mode, share in shares.items():
            if share == 0:
                continue
            part = self.mode_loss(model, sample, mode)
            size = log["nsentences"] if self.sentence_avg else part["pairs"]
            loss = loss + share * part["loss"]
            sample_size = size
            log.update({f"{mode}_{key}": utils.item(value.data) for key, value in part.items() if key != "pairs"})
            log[f"{mode}_pairs"] = part["pairs"]
        log["loss"], log["sample_size"] = utils.item(loss.data), sample_size
        return loss, sample_size, log

    def mode_loss(self, model, sample, mode: str) -> dict:
        """Sums over the predicted tokens of one batch.

        Args:
            mode: ``ar`` or ``nar``.

        Returns:
            ``loss``, ``nll``, ``correct`` (tensors) and ``pairs`` (number of predictions).
        """
        inputs, target = sample["net_input"], sample["target"]
        real = target.ne(self.padding_idx)
        if mode == "nar":
            first_slot = real.int().argmax(1)
            streams = empty_prefix_chain(model.decoder.first_position, first_slot, real.sum(1))
        else:
            streams = model.decoder.teacher_forcing(inputs["prev_output_tokens"], real.long())
        features, _ = model(**inputs, streams=streams, features_only=True)
        counted = streams.element > 0
        target = target.gather(1, streams.target_slot)[counted]
        logits = model.decoder.output_layer(features[counted])
        loss, nll = smoothed_cross_entropy(logits, target, self.epsilon)
        return {
            "loss": loss.sum(),
            "nll": nll.sum(),
            "correct": (logits.argmax(-1) == target).sum(),
            "pairs": target.numel(),
        }

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Log loss, negative log-likelihood (base 2) and accuracy (percent), of each mode."""

        def total(key):
            return sum(log.get(key, 0) for log in logging_outputs)

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / max(size, 1) / math.log(2), size, round=3)
        pairs = total("ar_pairs") + total("nar_pairs")
        nll = total("ar_nll") + total("nar_nll")
        metrics.log_scalar("nll_loss", nll / max(pairs, 1) / math.log(2), pairs, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        for mode in ("ar", "nar"):
            pairs = total(f"{mode}_pairs")
            if pairs:
                metrics.log_scalar(f"{mode}_nll", total(f"{mode}_nll") / pairs / math.log(2), pairs, round=3)
                metrics.log_scalar(f"{mode}_accuracy", 100.0 * total(f"{mode}_correct") / pairs, pairs, round=2)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


@register_criterion("ngram_language_loss_NAR_mixed", dataclass=NStreamLossConfig)
class ReleaseNStreamLoss(NStreamLoss):
    """``nstream_loss`` under the official release's name."""
