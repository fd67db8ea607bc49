"""``train``: a whole training step (forward and backward) of the compact backend against the dense one.

Samples as in pretraining: text in which one span of nine tokens per 64 is masked; chains of up to N masks
follow every token. With ``--targets`` as in fine-tuning: whole targets of that length. Three contestants compute
the same loss:

- compact: what ``nstream_loss`` does: only chain elements that predict something, attention inside chains;
- dense: the full (slot, stream) grid under one dense mask, the projection of counted rows only;
- literal: the same grid, and the logits of all of it at once, as a program written from the formulas has it.

On a GPU with ``--attention-dropout 0`` there is a fourth:

- flex: compact with FlexAttention's kernels, which ``nstream_loss`` then takes by itself.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from fairseq import utils
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bang_plugin.criterions.nstream_loss import NStreamLoss
from bang_plugin.data.span_masking import SpanMasking, SpanMaskingDataset

from . import models
from .machine import add_device_arguments, describe, matmul_rate, peak_bytes, resident_bytes
from .output import Output
from .timing import add_round_arguments, in_own_process, interleave

CONTESTANTS = {"compact": "compact", "dense": "dense", "literal": "dense", "flex": "flex"}  # name -> attention backend
EPSILON = 0.1
SETTINGS = ("batch", "tokens", "targets", "ngram", "device", "dtype", "attention_dropout")  # options that Steps takes


def add_arguments(parser) -> None:
    add_round_arguments(parser)
    add_device_arguments(parser, "where to train", "of training")
    parser.add_argument("--tokens", type=int, default=512, help="tokens per sample")
    parser.add_argument("--batch", type=int, default=4, help="samples per step")
    parser.add_argument("--targets", type=int, default=0, help="fine-tuning's samples with targets so long")
    parser.add_argument("--ngram", type=int, default=9, help="streams")
    parser.add_argument("--attention-dropout", type=float, default=0.1, help="0 lets FlexAttention take part on a GPU")


def contestants(args) -> list[str]:
    """Names of those who can take part."""
    flex = args.device == "cuda" and args.attention_dropout == 0
    return [name for name in CONTESTANTS if name != "flex" or flex]


def make_sample(dictionary, batch: int, tokens: int) -> dict:
    """A pretraining batch of random text."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(dictionary.nspecial, len(dictionary) - 1, (batch, tokens), generator=generator)
    masking = SpanMasking(len(dictionary) - 1, len(dictionary), dictionary.nspecial)
    blocks = _Blocks(text)
    dataset = SpanMaskingDataset(blocks, masking, dictionary.pad(), seed=1)
    return dataset.collater([dataset[i] for i in range(batch)])


def make_pairs(dictionary, batch: int, tokens: int, targets: int) -> dict:
    """A fine-tuning batch: random sources of ``tokens`` and targets of ``targets`` tokens."""
    sample = models.sources(dictionary, batch, tokens)
    target = models.sources(dictionary, batch, targets, seed=2)["net_input"]["src_tokens"]
    sample["net_input"]["prev_output_tokens"] = target.roll(1, dims=1)  # the end symbol begins, as in fairseq
    return {**sample, "ntokens": target.numel(), "target": target}


class _Blocks(torch.utils.data.Dataset):
    def __init__(self, text):
        self.text, self.sizes = text, np.full(len(text), text.size(1))

    def __getitem__(self, index):
        return self.text[index]

    def __len__(self):
        return len(self.text)


class Steps:
    """Training steps of every contestant on one model and one batch."""

    def __init__(
        self,
        size: models.Size,
        batch: int,
        tokens: int,
        targets: int = 0,
        ngram: int = 9,
        device: str = "cpu",
        dtype: str = "float32",
        attention_dropout: float = 0.1,
    ):
        self.dictionary = models.make_dictionary(size)
        self.ngram, self.device = ngram, device
        model = models.bang(size, self.dictionary, ngram, max(tokens, 32), attention_dropout=attention_dropout)
        self.model = model.to(device, getattr(torch, dtype)).train()
        self.task = models.make_task(self.dictionary)
        make = partial(make_pairs, targets=targets) if targets else make_sample
        self.sample = utils.apply_to_sample(lambda t: t.to(device), make(self.dictionary, batch, tokens))

    def step(self, name: str, ngram: int = 0) -> float:
        """Forward and backward; returns the loss, which is the same for all contestants without dropout."""
        model, ngram = self.model, ngram or self.ngram
        model.zero_grad(set_to_none=True)
        model.decoder.attention_backend = CONTESTANTS[name]
        if name == "literal":
            loss = self._literal_loss(ngram)
        else:
            layout = type(model.decoder).teacher_forcing
            # shadows the method on this one object
            model.decoder.teacher_forcing = partial(layout, model.decoder, full=name == "dense")
            loss = self._criterion(ngram)(model, self.sample)[0]
            del model.decoder.teacher_forcing
        loss.backward()
        return float(loss.detach())

    def _criterion(self, ngram: int) -> NStreamLoss:
        return NStreamLoss(self.task, ngram, label_smoothing=EPSILON)

    def chains(self, ngram: int) -> torch.Tensor:
        """Elements of the chain after every slot; their sum is the number of counted (stream, target) pairs."""
        return NStreamLoss.chain_lengths(self.sample, self.sample["target"] != self.dictionary.pad(), ngram)

    def _literal_loss(self, ngram: int):
        inputs, decoder = self.sample["net_input"], self.model.decoder
        rows = {name: value for name, value in inputs.items() if name != "positions"}
        prefix, chains = rows["prev_output_tokens"], self.chains(ngram)
        streams = decoder.teacher_forcing(prefix, chains, True, inputs.get("positions"))
        logits = self.model(**rows, streams=streams)[0].float()
        target = self.sample["target"].gather(1, streams.target_slot).masked_fill(streams.element == 0, -100)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum", label_smoothing=EPSILON)

    def operations(self, name: str) -> int:
        """Floating-point operations of a step's matrix products, forward and backward.

        FlexAttention's kernels do not tell; they leave out at least what the compact layout does.
        """
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            self.step("compact" if name == "flex" else name)
        return counter.get_total_flops()


def peak_of(name: str, *settings) -> dict:
    """Peak memory of two steps of one contestant in this process."""
    steps = Steps(*settings)
    before = resident_bytes(steps.device)
    for _ in range(2):
        steps.step(name)
    return {"before": before, "peak": peak_bytes(steps.device)}


def run(args) -> Output:
    """Compare, print and save."""
    size = models.QUICK if args.quick else models.BASE
    if args.quick:
        args.batch, args.tokens, args.ngram, args.rounds = 2, 70, 3, 1
    dtype = getattr(torch, args.dtype)
    out = Output(args.folder, "train", describe(args.device), {**vars(args), "folder": str(args.folder)})
    names, settings = contestants(args), (size, *(getattr(args, name) for name in SETTINGS))
    memory = {name: in_own_process(peak_of, name, *settings) for name in names}
    steps = Steps(*settings)
    rate = matmul_rate(args.device, dtype, 256 if args.quick else 2048)
    timings = interleave(
        {name: partial(steps.step, name) for name in names}, args.rounds, args.device, "step", args.seconds
    )
    rate = max(rate, matmul_rate(args.device, dtype, 256 if args.quick else 2048))
    compact = timings["compact"].median
    rows = []
    for name, timing in timings.items():
        operations = steps.operations(name)
        rows.append(
            {
                "layout": name,
                "s per step": timing.median,
                "± %": 100 * timing.spread,
                "time / compact": timing.median / compact,
                "tokens / s": args.batch * args.tokens / timing.median,
                "peak (GB)": memory[name]["peak"] / 1e9,
                "compact / its peak": memory["compact"]["peak"] / memory[name]["peak"],
                "above model (GB)": (memory[name]["peak"] - memory[name]["before"]) / 1e9,
                "GFLOP": operations / 1e9,
                "share of matmul rate": operations / timing.median / rate,
            }
        )
    targets = f" and targets of {args.targets}" if args.targets else ""
    out.table(f"One step: {args.batch} samples of {args.tokens} tokens{targets}, {args.ngram} streams", rows)
    out.fact("matmul rate of this machine (GFLOP/s)", rate / 1e9)
    growth = cost_by_streams(steps, args)
    out.table("Cost of the compact step against the number of streams", growth)
    out.save(partial(_draw, growth))
    return out


def cost_by_streams(steps: Steps, args) -> list[dict]:
    """Time of a step for N = 1 … ngram, beside what it must grow with: the counted pairs."""
    numbers = range(1, args.ngram + 1)
    timings = interleave(
        {str(n): partial(steps.step, "compact", n) for n in numbers}, max(args.rounds // 2, 1), args.device, "streams"
    )
    slots = int((steps.chains(1) > 0).sum())
    return [
        {
            "streams": n,
            "s per step": timings[str(n)].median,
            "± %": 100 * timings[str(n)].spread,
            "counted pairs": int(steps.chains(n).sum()),
            "streams x slots": n * slots,
        }
        for n in numbers
    ]


def _draw(growth: list[dict], figure) -> None:
    """Measured time, and what it would be if it grew with pairs or with streams x slots from N = 1 and the slope
    that the pairs have."""
    n = [row["streams"] for row in growth]
    seconds = np.array([row["s per step"] for row in growth])
    axes = figure.subplots()
    axes.plot(n, seconds, "o-", label="measured")
    pairs, slots = (np.array([row[key] for row in growth], float) for key in ("counted pairs", "streams x slots"))
    if len(n) > 1:
        slope, start = np.polyfit(pairs, seconds, 1)
        axes.plot(n, start + slope * pairs, "--", label="growing with counted pairs (fit)")
        axes.plot(n, start + slope * slots, ":", label="growing with streams x slots")
    axes.set(xlabel="streams N", ylabel="seconds per step", title="Compact layout: cost against streams")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
