"""Criterion ``nstream_loss``: cross-entropy of AR, NAR or several streams (paper section 3.2)."""

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor

from ..errors import BangError
from ..modules.chunked_cross_entropy import chunked_cross_entropy
from ..modules.streams import Extent
from . import nstream_metrics

logger = logging.getLogger(__name__)


@dataclass
class NStreamLossConfig(FairseqDataclass):
    """Options of ``NStreamLoss``."""

    ngram: int = II("model.ngram")
    nar_ratio: float = field(
        default=0.0, metadata={"help": "share of updates that train pure NAR: 0 streams only, 1 NAR only"}
    )
    ar_updates: int = field(
        default=0, metadata={"help": "train AR alone in the first updates, this many; then streams and NAR as they say"}
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "epsilon of label smoothing over the whole vocabulary, the target included"}
    )
    stream_weights: Optional[List[float]] = field(
        default=None, metadata={"help": "weights of streams 1 … ngram, comma-separated; default: all alike"}
    )
    disable_ngram_loss: bool = field(
        default=False, metadata={"help": "train stream 1 alone, whatever --ngram says (an option of the release)"}
    )
    anchors: int = field(
        default=0,
        metadata={
            "help": "train streams 2 … ngram after this many random places per sentence instead of all (0), stream 1 "
            "after all; unbiased"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    seed: int = II("common.seed")


def coin(*key: object) -> int:
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

    The first ``--ar-updates`` updates train AR alone: each is an update of ``--ngram 1 --nar-ratio 0`` and costs no
    more. They are counted as the learning-rate schedule counts, so that a resumed run goes on where it was. Validation
    computes the whole objective from the start: its values compare over the whole run and with other runs.

    With ``--sentence-avg`` a sum over target tokens is divided by the number of sentences, as by fairseq's own
    criterions; the pairs of a sentence then share the weight of its tokens, so that an update of many streams weighs no
    more than one of NAR.

    Raises:
        BangError: for values out of range.
    """

    def __init__(
        self,
        task: FairseqTask,
        ngram: int = 1,
        nar_ratio: float = 0.0,
        ar_updates: int = 0,
        label_smoothing: float = 0.0,
        stream_weights: Optional[List[float]] = None,
        disable_ngram_loss: bool = False,
        anchors: int = 0,
        sentence_avg: bool = False,
        seed: int = 1,
    ):
        super().__init__(task)
        for name, value in (("--nar-ratio", nar_ratio), ("--label-smoothing", label_smoothing)):
            if not 0 <= value <= 1:
                raise BangError(f"{name} must lie between 0 and 1, not {value}")
        if ngram < 1:
            raise BangError(f"--ngram must be at least 1, not {ngram}")
        if disable_ngram_loss:
            if stream_weights and len(stream_weights) > 1:
                raise BangError("--disable-ngram-loss trains stream 1 alone: leave out --stream-weights")
            ngram = 1
        for name, value in (("--anchors", anchors), ("--ar-updates", ar_updates)):
            if value < 0:
                raise BangError(f"{name} must be 0 or more, not {value}")
        if ar_updates and ngram == 1 and nar_ratio == 0:
            raise BangError(
                f"--ar-updates {ar_updates}: AR alone is all that --ngram 1 and --nar-ratio 0 train; raise one of them"
            )
        weights = list(stream_weights) if stream_weights else [1.0] * ngram
        if len(weights) != ngram or min(weights) < 0 or sum(weights) == 0:
            raise BangError(f"--stream-weights needs {ngram} weights of at least 0, not all 0, got {weights}")
        self.nar_ratio, self.ar_updates, self.epsilon = nar_ratio, ar_updates, label_smoothing
        self.stream_weights, self.anchors = {"ar": [1.0], "streams": weights}, anchors
        self._weight_of_stream = {mode: torch.tensor([0.0, *each]) for mode, each in self.stream_weights.items()}
        self.sentence_avg, self.seed = sentence_avg, seed
        self._announced: Optional[int] = None  # the phase that the log has told of

    def forward(
        self, model: BaseFairseqModel, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[Tensor, float, dict[str, Any]]:
        """The loss of one batch.

        Returns:
            the summed loss, its sample size and the values to log; in validation the loss and size whose quotient is
            the expected loss of this batch.
        """
        shares = {"ar": 0.0, "streams": 1 - self.nar_ratio, "nar": self.nar_ratio}
        log = {"ntokens": sample["ntokens"], "nsentences": sample["target"].size(0), "batches": 1}
        if model.training and self.ar_updates:
            phase = 1 if model.num_updates < self.ar_updates else 2
            self.announce(phase)
            log["phase"] = phase
            if phase == 1:
                shares = {"ar": 1.0, "streams": 0.0, "nar": 0.0}
        modes = [mode for mode, share in shares.items() if share]
        if model.training and len(modes) > 1:
            modes = ["nar" if trains_nar(self.nar_ratio, self.seed, model.num_updates) else "streams"]
        log |= {f"{mode}_share": share for mode, share in shares.items()}
        parts = []
        for mode in modes:
            loss, size, statistics = self.mode_loss(model, sample, mode)
            parts.append((shares[mode], loss, size))
            log |= {f"{mode}_loss": loss.detach(), f"{mode}_size": size, **statistics}
        (share, loss, sample_size), *others = parts
        for other_share, other, size in others:
            loss = share * loss + other_share * other * (sample_size / (size + (size == 0)))
        return loss, sample_size, {**log, "loss": loss.detach(), "sample_size": sample_size}

    def announce(self, phase: int) -> None:
        """Log the phase where it begins, or where training goes on in it."""
        if phase != self._announced:
            everything = f"--ngram {len(self.stream_weights['streams'])} --nar-ratio {self.nar_ratio}"
            told = f"AR alone until update {self.ar_updates}, then" if phase == 1 else "from here on"
            logger.info(f"phase {phase} of --ar-updates: trains {told} {everything}")
            self._announced = phase

    def mode_loss(
        self, model: BaseFairseqModel, sample: dict[str, Any], mode: str
    ) -> tuple[Tensor, float, dict[str, Any]]:
        """Weighted sum of losses over one batch.

        Args:
            model: the model.
            sample: fairseq's batch.
            mode: ``streams`` (a chain of up to ``ngram`` masks after every anchor), ``ar`` (one mask after every
                slot) or ``nar`` (one chain for every whole sentence, in pretraining every span).

        Returns:
            the sum, its sample size (the weight of all pairs that it stands for, or the number of sentences) and
            statistics to log.
        """
        inputs, target = sample["net_input"], sample["target"]
        if mode == "nar" and "nar_target" in sample:
            target = sample["nar_target"]
            inputs = {**inputs, "prev_output_tokens": sample["nar_prev_output_tokens"]}
        real = target.ne(self.padding_idx)
        if mode == "nar":
            tokens, streams = model.decoder.whole_outputs(
                inputs["prev_output_tokens"], self.elements(sample, real), inputs.get("positions")
            )
            inputs = {**inputs, "prev_output_tokens": tokens}
            weight_of_stream, anchor_weight, per_token = None, None, None
        else:
            weights = self.stream_weights[mode]
            every_chain = self.chain_lengths(sample, real, len(weights))
            chains, anchor_weight, per_token = every_chain, None, None
            if mode == "streams" and self.anchors and model.training:
                chains, anchor_weight = self.pick_anchors(every_chain, sample, model)
            weight_of_stream = self._stream_weights_on(chains.device, mode)
            size, extent = self.sizes(every_chain, chains, weights)
            if self.sentence_avg:
                weight_of_sentence = weight_of_stream.cumsum(0)[every_chain].sum(1)
                per_token = real.sum(1) / weight_of_sentence.masked_fill(weight_of_sentence == 0, torch.inf)
            streams = model.decoder.teacher_forcing(
                inputs["prev_output_tokens"], chains, positions=inputs.get("positions"), extent=extent
            )
        # as numbers and before the model runs: a mask is turned into them for each use, which a GPU is waited for
        counted = (streams.element > 0).flatten().nonzero().flatten()

        def pick(rows: Tensor) -> Tensor:
            return rows.flatten(0, 1).index_select(0, counted)

        rows = {name: value for name, value in inputs.items() if name != "positions"}
        features, _ = model(**rows, streams=streams, features_only=True)
        stream = pick(streams.element)
        if weight_of_stream is None:
            row_weight = torch.ones_like(stream, dtype=torch.float)
        else:
            row_weight = weight_of_stream[stream]
        if anchor_weight is not None:
            row_weight = row_weight * pick(torch.where(streams.element > 1, anchor_weight, 1.0))
        if per_token is not None:
            row_weight = row_weight * pick(per_token.unsqueeze(1).expand_as(streams.element))
        loss, nll, correct = chunked_cross_entropy(
            pick(features),
            model.decoder.embed_tokens.weight,
            pick(target.gather(1, streams.target_slot)),
            row_weight,
            self.epsilon,
        )
        everything = torch.ones_like(stream, dtype=torch.bool)
        if mode == "nar":
            size, log = float(len(stream)), nstream_metrics.statistics("nar", nll, correct, everything)
        else:
            log = nstream_metrics.statistics("ar", nll, correct, stream == 1)
            if (last := len(weights)) > 1:
                log |= nstream_metrics.statistics(f"stream{last}", nll, correct, stream == last)
                log |= nstream_metrics.statistics("all", nll, correct, everything)
        return loss, float(len(target)) if self.sentence_avg else size, log

    def _stream_weights_on(self, device: torch.device, mode: str) -> Tensor:
        """Weights of streams 0 (which is none), 1, …, sent to a GPU once."""
        if self._weight_of_stream[mode].device != device:
            self._weight_of_stream[mode] = self._weight_of_stream[mode].to(device)
        return self._weight_of_stream[mode]

    @staticmethod
    def sizes(every_chain: Tensor, chains: Tensor, weights: list[float]) -> tuple[float, Extent]:
        """The weight of all pairs and the extent of the chains that are computed, in one transfer from a GPU."""
        streams = torch.arange(1, len(weights) + 1, device=chains.device)
        pairs = (every_chain.unsqueeze(-1) >= streams).sum((0, 1))  # of each stream
        told = torch.cat([Extent.measure(chains), pairs]).tolist()
        return sum(weight * n for weight, n in zip(weights, told[3:])), Extent(*told[:3])

    @staticmethod
    def chain_lengths(sample: dict[str, Any], real: Tensor, longest: int) -> Tensor:
        """Elements of the chain after every slot, ``(batch, tgt_len)``.

        At most ``longest``, and never past the sentence (or, in pretraining, the span, whose remaining length the
        sample gives).
        """
        remaining: Optional[Tensor] = sample.get("remaining")
        if remaining is None:
            remaining = real.flip(1).cumsum(1).flip(1) * real
        return remaining.clamp(max=longest)

    @staticmethod
    def elements(sample: dict[str, Any], real: Tensor) -> Tensor:
        """Place of every target in its sentence or, in pretraining, its span: 1, 2, …, 0 at padding; as ``real``."""
        remaining: Optional[Tensor] = sample.get("remaining")
        if remaining is None:
            return real.cumsum(1) * real
        slot = torch.arange(real.size(1), device=real.device).expand_as(real)
        goes_on = F.pad(remaining[:, :-1], (1, 0), value=-1) == remaining + 1
        return (slot - slot.masked_fill(goes_on, 0).cummax(1).values + 1) * real

    def pick_anchors(self, chains: Tensor, sample: dict[str, Any], model: BaseFairseqModel) -> tuple[Tensor, Tensor]:
        """Keep ``--anchors`` random chains per sentence whole, and of the others stream 1.

        Returns:
            the chains, ``(batch, tgt_len)``, and the weight of their elements beyond stream 1, which makes their sum
            an unbiased estimate of the sum over all, ``(batch, 1)``.
        """
        longer = chains > 1
        # the sentence numbers make the draw differ between workers
        key = coin("anchors", self.seed, model.num_updates, sample["id"].tolist())
        generator = torch.Generator().manual_seed(key % 2**63)
        order = (
            torch.rand(chains.shape, generator=generator).to(chains.device, non_blocking=True).masked_fill(~longer, 2.0)
        )
        rank = order.argsort(1).argsort(1)
        total = longer.sum(1, keepdim=True)
        return torch.where(rank < self.anchors, chains, chains.clamp(max=1)), total / total.clamp(1, self.anchors)

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """See ``nstream_metrics.reduce``."""
        nstream_metrics.reduce(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Yes: the totals need no single batch, so that workers may add up theirs."""
        return True


@register_criterion("ngram_language_loss_NAR_mixed", dataclass=NStreamLossConfig)
class ReleaseNStreamLoss(NStreamLoss):
    """``nstream_loss`` under the official release's name."""
