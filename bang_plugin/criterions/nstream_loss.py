"""Criterion ``nstream_loss``: cross-entropy of AR, NAR or several streams (paper section 3.2)."""

import hashlib
import math
from dataclasses import dataclass, field
from typing import List, Optional

import torch
from fairseq import metrics, utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from ..errors import BangError
from ..modules.streams import empty_prefix_chain
from .chunked_cross_entropy import chunked_cross_entropy


@dataclass
class NStreamLossConfig(FairseqDataclass):
    ngram: int = II("model.ngram")
    nar_ratio: float = field(
        default=0.0, metadata={"help": "share of updates that train pure NAR: 0 streams only, 1 NAR only"}
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "epsilon of label smoothing over the whole vocabulary, the target included"}
    )
    stream_weights: Optional[List[float]] = field(
        default=None, metadata={"help": "weights of streams 1 … ngram, comma-separated; default: all alike"}
    )
    anchors: int = field(
        default=0,
        metadata={"help": "train the chains of this many random anchors per sentence instead of all (0); unbiased"},
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    seed: int = II("common.seed")


def coin(*key) -> int:
    """64 random bits that every worker draws alike for the same key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big")


def trains_nar(nar_ratio: float, seed: int, update: int) -> bool:
    """Whether an update trains NAR."""
    return coin("mode", seed, update) < nar_ratio * 2**64


@register_criterion("nstream_loss", dataclass=NStreamLossConfig)
class NStreamLoss(FairseqCriterion):
    """Mean cross-entropy over all (stream, target) pairs that the chains predict.

    A training update takes either the streams or, at rate ``--nar-ratio``, pure NAR; validation computes
    both that are trained and weights them by the ratio.

    Raises:
        BangError: for values out of range.
    """

    def __init__(
        self,
        task,
        ngram=1,
        nar_ratio=0.0,
        label_smoothing=0.0,
        stream_weights=None,
        anchors=0,
        sentence_avg=False,
        seed=1,
    ):
        super().__init__(task)
        for name, value in (("--nar-ratio", nar_ratio), ("--label-smoothing", label_smoothing)):
            if not 0 <= value <= 1:
                raise BangError(f"{name} must lie between 0 and 1, not {value}")
        if ngram < 1:
            raise BangError(f"--ngram must be at least 1, not {ngram}")
        if anchors < 0:
            raise BangError(f"--anchors must be 0 (all) or more, not {anchors}")
        weights = list(stream_weights) if stream_weights else [1.0] * ngram
        if len(weights) != ngram or min(weights) < 0 or sum(weights) == 0:
            raise BangError(f"--stream-weights needs {ngram} weights of at least 0, not all 0, got {weights}")
        self.ngram, self.nar_ratio, self.epsilon = ngram, nar_ratio, label_smoothing
        self.stream_weights, self.anchors = weights, anchors
        self.sentence_avg, self.seed = sentence_avg, seed

    def forward(self, model, sample, reduce=True):
        """
        Returns:
            the summed loss, its sample size and the values to log.
        """
        if model.training:
            nar = trains_nar(self.nar_ratio, self.seed, model.num_updates)
            shares = {"nar" if nar else "streams": 1.0}
        else:
            shares = {"streams": 1 - self.nar_ratio, "nar": self.nar_ratio}
        log = {"ntokens": sample["ntokens"], "nsentences": sample["target"].size(0)}
        loss, sample_size = 0.0, 0.0
        for mode, share in shares.items():
            if share == 0:
                continue
            part, size, part_log = self.mode_loss(model, sample, mode)
            loss = loss + share * part
            sample_size += share * size
            log.update(part_log)
        if self.sentence_avg:
            sample_size = log["nsentences"]
        log["loss"], log["sample_size"] = utils.item(loss.data), sample_size
        return loss, sample_size, log

    def mode_loss(self, model, sample, mode: str):
        """Weighted sum of losses over one batch.

        Args:
            mode: ``streams`` (a chain of up to ``ngram`` masks after every anchor) or ``nar`` (one chain after
                the empty prefix).

        Returns:
            the sum, the weight of all pairs that it stands for, and statistics to log.
        """
        inputs, target = sample["net_input"], sample["target"]
        real = target.ne(self.padding_idx)
        if mode == "nar":
            padding_before = real.cumsum(1).eq(0).sum(1)
            streams = empty_prefix_chain(model.decoder.first_position, padding_before, real.sum(1))
            weight_of_stream, anchor_weight = torch.ones(real.size(1) + 1), None
        else:
            chains = self.chain_lengths(sample, real)
            weight_of_stream = torch.tensor([0.0, *self.stream_weights])
            size = weight_of_stream.cumsum(0).to(chains.device)[chains].sum().item()
            chains, anchor_weight = self.pick_anchors(chains, sample, model)
            streams = model.decoder.teacher_forcing(
                inputs["prev_output_tokens"], chains, positions=inputs.get("positions")
            )
        rows = {name: value for name, value in inputs.items() if name != "positions"}
        features, _ = model(**rows, streams=streams, features_only=True)
        counted = streams.element > 0
        stream = streams.element[counted]
        row_weight = weight_of_stream.to(stream.device)[stream]
        if anchor_weight is not None:
            row_weight = row_weight * anchor_weight.gather(1, streams.chain)[counted]
        loss, nll, correct = chunked_cross_entropy(
            features[counted],
            model.decoder.embed_tokens.weight,
            target.gather(1, streams.target_slot)[counted],
            row_weight,
            self.epsilon,
        )
        if mode == "nar":
            return loss, float(len(stream)), _statistics("nar", nll, correct)
        log = _statistics("all", nll, correct)
        for k in {1, self.ngram}:
            name = "ar" if k == 1 else f"stream{k}"
            log.update(_statistics(name, nll[stream == k], correct[stream == k]))
        return loss, size, log

    def chain_lengths(self, sample, real):
        """Elements of the chain after every slot: at most ``ngram``, and never past the sentence (or, in
        pretraining, the span, whose remaining length the sample gives), ``(batch, tgt_len)``."""
        remaining = sample.get("remaining")
        if remaining is None:
            remaining = real.flip(1).cumsum(1).flip(1) * real
        return remaining.clamp(max=self.ngram)

    def pick_anchors(self, chains, sample, model):
        """Keep ``--anchors`` random chains per sentence in training, and the weights that make their sum
        an unbiased estimate of the sum over all; ``(batch, tgt_len)`` each."""
        if not self.anchors or not model.training:
            return chains, None
        exists = chains > 0
        # the sentence numbers make the draw differ between workers
        key = coin("anchors", self.seed, model.num_updates, sample["id"].tolist())
        generator = torch.Generator().manual_seed(key % 2**63)
        order = torch.rand(chains.shape, generator=generator).to(chains.device).masked_fill(~exists, 2.0)
        rank = order.argsort(1).argsort(1)
        total = exists.sum(1, keepdim=True)
        weight = total / total.clamp(1, self.anchors)
        return chains * (rank < self.anchors), weight.expand_as(chains)

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Log loss, negative log-likelihood (base 2) and accuracy (percent) of AR (stream 1), the last
        stream, all streams and NAR."""

        def total(key):
            return sum(log.get(key, 0) for log in logging_outputs)

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / (size or 1) / math.log(2), size, round=3)
        pairs = total("all_pairs") + total("nar_pairs")
        nll = total("all_nll") + total("nar_nll")
        metrics.log_scalar("nll_loss", nll / (pairs or 1) / math.log(2), pairs, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        names = {key[: -len("_pairs")] for log in logging_outputs for key in log if key.endswith("_pairs")}
        for name in sorted(names):
            pairs = total(f"{name}_pairs")
            if pairs and not (name == "all" and not any(n.startswith("stream") for n in names)):
                metrics.log_scalar(f"{name}_nll", total(f"{name}_nll") / pairs / math.log(2), pairs, round=3)
                metrics.log_scalar(f"{name}_accuracy", 100.0 * total(f"{name}_correct") / pairs, pairs, round=2)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _statistics(name: str, nll, correct) -> dict:
    return {
        f"{name}_nll": utils.item(nll.sum()),
        f"{name}_correct": utils.item(correct.sum()),
        f"{name}_pairs": len(nll),
    }


@register_criterion("ngram_language_loss_NAR_mixed", dataclass=NStreamLossConfig)
class ReleaseNStreamLoss(NStreamLoss):
    """``nstream_loss`` under the official release's name."""
