"""Criterion ``nstream_loss``: cross-entropy of AR, NAR or several streams (paper section 3.2)."""

import hashlib
import math
from dataclasses import dataclass, field
from functools import partial
from typing import List, Optional

import torch
from fairseq import metrics, utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from ..errors import BangError
from ..modules.chunked_cross_entropy import chunked_cross_entropy
from ..modules.streams import Extent, empty_prefix_chain

MODES = ("streams", "nar")  # what an update may train


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

    A training update takes either the streams or, at rate ``--nar-ratio``, pure NAR, and is divided by its own sample
    size. The loss that is logged is what updates minimise in expectation: the mean over the pairs of the streams and
    that over the pairs of NAR, weighted by how often an update takes each. Validation computes both.

    With ``--sentence-avg`` a sum over target tokens is divided by the number of sentences, as by fairseq's own
    criterions; the pairs of a sentence then share the weight of its tokens, so that an update of many streams weighs no
    more than one of NAR.

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
        self._weight_of_stream = torch.tensor([0.0, *weights])
        self.sentence_avg, self.seed = sentence_avg, seed

    def forward(self, model, sample, reduce=True):
        """
        Returns:
            the summed loss, its sample size and the values to log; in validation the loss and size whose quotient is
            the expected loss of this batch.
        """
        shares = {"streams": 1 - self.nar_ratio, "nar": self.nar_ratio}
        if model.training:
            modes = ["nar" if trains_nar(self.nar_ratio, self.seed, model.num_updates) else "streams"]
        else:
            modes = [mode for mode, share in shares.items() if share]
        log = {"ntokens": sample["ntokens"], "nsentences": sample["target"].size(0), "batches": 1}
        parts = []
        for mode in modes:
            loss, size, statistics = self.mode_loss(model, sample, mode)
            parts.append((shares[mode], loss, size))
            log |= {f"{mode}_loss": loss.detach(), f"{mode}_size": size, f"{mode}_share": shares[mode], **statistics}
        (share, loss, sample_size), *others = parts
        for other_share, other, size in others:
            loss = share * loss + other_share * other * (sample_size / (size + (size == 0)))
        return loss, sample_size, {**log, "loss": loss.detach(), "sample_size": sample_size}

    def mode_loss(self, model, sample, mode: str):
        """Weighted sum of losses over one batch.

        Args:
            mode: ``streams`` (a chain of up to ``ngram`` masks after every anchor) or ``nar`` (one chain after
                the empty prefix).

        Returns:
            the sum, its sample size (the weight of all pairs that it stands for, or the number of sentences) and
            statistics to log.
        """
        inputs, target = sample["net_input"], sample["target"]
        real = target.ne(self.padding_idx)
        if mode == "nar":
            padding_before = real.cumsum(1).eq(0).sum(1)
            streams = empty_prefix_chain(model.decoder.first_position, padding_before, real.sum(1))
            weight_of_stream, anchor_weight = None, None
        else:
            every_chain = self.chain_lengths(sample, real)
            chains, anchor_weight = self.pick_anchors(every_chain, sample, model)
            weight_of_stream = self._stream_weights_on(chains.device)
            size, extent = self.sizes(every_chain, chains)
            if self.sentence_avg:
                weight_of_sentence = weight_of_stream.cumsum(0)[every_chain].sum(1)
                per_token = real.sum(1) / weight_of_sentence.masked_fill(weight_of_sentence == 0, torch.inf)
                weight = per_token.unsqueeze(1).expand_as(chains)
                anchor_weight = weight if anchor_weight is None else anchor_weight * weight
            streams = model.decoder.teacher_forcing(
                inputs["prev_output_tokens"], chains, positions=inputs.get("positions"), extent=extent
            )
        # as numbers and before the model runs: a mask is turned into them for each use, which a GPU is waited for
        counted = (streams.element > 0).flatten().nonzero().flatten()
        pick = lambda rows: rows.flatten(0, 1).index_select(0, counted)
        rows = {name: value for name, value in inputs.items() if name != "positions"}
        features, _ = model(**rows, streams=streams, features_only=True)
        stream = pick(streams.element)
        if weight_of_stream is None:
            row_weight = torch.ones_like(stream, dtype=torch.float)
        else:
            row_weight = weight_of_stream[stream]
        if anchor_weight is not None:
            row_weight = row_weight * pick(anchor_weight.gather(1, streams.chain))
        loss, nll, correct = chunked_cross_entropy(
            pick(features),
            model.decoder.embed_tokens.weight,
            pick(target.gather(1, streams.target_slot)),
            row_weight,
            self.epsilon,
        )
        everything = torch.ones_like(stream, dtype=torch.bool)
        if mode == "nar":
            size, log = float(len(stream)), _statistics("nar", nll, correct, everything)
        else:
            log = _statistics("ar", nll, correct, stream == 1)
            if self.ngram > 1:
                log |= _statistics(f"stream{self.ngram}", nll, correct, stream == self.ngram)
                log |= _statistics("all", nll, correct, everything)
        return loss, float(len(target)) if self.sentence_avg else size, log

    def _stream_weights_on(self, device) -> torch.Tensor:
        """Weights of streams 0 (which is none), 1, …, sent to a GPU once."""
        if self._weight_of_stream.device != device:
            self._weight_of_stream = self._weight_of_stream.to(device)
        return self._weight_of_stream

    def sizes(self, every_chain, chains) -> tuple[float, Extent]:
        """The weight of all pairs and the extent of the chains that are computed, in one transfer from a GPU."""
        streams = torch.arange(1, self.ngram + 1, device=chains.device)
        pairs = (every_chain.unsqueeze(-1) >= streams).sum((0, 1))  # of each stream
        told = torch.cat([Extent.measure(chains), pairs]).tolist()
        return sum(weight * n for weight, n in zip(self.stream_weights, told[3:])), Extent(*told[:3])

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
        order = (
            torch.rand(chains.shape, generator=generator).to(chains.device, non_blocking=True).masked_fill(~exists, 2.0)
        )
        rank = order.argsort(1).argsort(1)
        total = exists.sum(1, keepdim=True)
        weight = total / total.clamp(1, self.anchors)
        return chains * (rank < self.anchors), weight.expand_as(chains)

    @staticmethod
    def reduce_metrics(logging_outputs) -> None:
        """Log, all in base 2 and accuracy in percent:

        - ``loss``: the expected loss of an update;
        - ``nll_loss`` and ``ppl``: of AR, as fairseq's other models have them, or of NAR where it alone is trained;
        - ``<name>_nll`` and ``<name>_accuracy`` of ``ar``, ``nar``, ``stream<ngram>`` and ``all`` streams together;
        - ``nar_ppl`` and ``stream<ngram>_ppl``.
        """
        total = _totals(logging_outputs)
        share = {mode: total[f"{mode}_share"] / (total["batches"] or 1) for mode in MODES if f"{mode}_share" in total}
        for mode in share:
            size = total[f"{mode}_size"]
            metrics.log_scalar(f"_{mode}_loss", total[f"{mode}_loss"] / (size or 1) / math.log(2), size)
            metrics.log_scalar(f"_{mode}_share", share[mode])
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

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _statistics(name: str, nll, correct, counted) -> dict:
    """Sums over the pairs ``counted``, left on their device."""
    return {
        f"{name}_nll": (nll * counted).sum(),
        f"{name}_correct": (correct & counted).sum(),
        f"{name}_pairs": counted.sum(),
    }


def _totals(logging_outputs) -> dict:
    """Sums over batches and workers, fetched from their device in one go."""
    total = {}
    for log in logging_outputs:
        for key in log:
            if key == "batches" or key.rpartition("_")[2] in ("loss", "size", "share", "nll", "correct", "pairs"):
                total[key] = total.get(key, 0) + log[key]
    tensors = {key: value for key, value in total.items() if torch.is_tensor(value)}
    if tensors:
        total.update(zip(tensors, torch.stack([value.double() for value in tensors.values()]).tolist()))
    return total


def _mean(meters, key: str) -> Optional[float]:
    """What a meter holds, or None if nothing was logged since it was reset."""
    return meters[key].avg if key in meters and meters[key].val is not None else None


def _expected_loss(meters) -> Optional[float]:
    """Of the kinds of update that were logged, weighted by their shares."""
    parts = [(_mean(meters, f"_{mode}_share"), _mean(meters, f"_{mode}_loss")) for mode in MODES]
    parts = [(share, loss) for share, loss in parts if loss is not None]
    total = sum(share for share, _ in parts)
    return round(sum(share * loss for share, loss in parts) / total, 3) if total else None


def _perplexity(meters, nll: str) -> Optional[float]:
    mean = _mean(meters, nll)
    return None if mean is None else utils.get_perplexity(mean)


@register_criterion("ngram_language_loss_NAR_mixed", dataclass=NStreamLossConfig)
class ReleaseNStreamLoss(NStreamLoss):
    """``nstream_loss`` under the official release's name."""
