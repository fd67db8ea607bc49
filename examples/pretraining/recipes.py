"""Settings of pretraining and of the fine-tuning that it is judged by."""

from dataclasses import dataclass

from examples.package_summaries import DESCRIPTION
from examples.recipe import CHEAP_STREAMS, Flags

OBJECTIVE = {"--criterion": "nstream_loss", "--optimizer": "adam"}
SPANS = {"--task": "bang_pretraining", "--label-smoothing": 0.1, **OBJECTIVE}
JOINT = {"--task": "bang", "--nar-ratio": 0.5, **OBJECTIVE}


@dataclass(frozen=True)
class Preset:
    """One size of everything.

    Attributes:
        pieces: size of the sentencepiece vocabulary.
        model: options of fairseq-train that both trainings share.
        pretraining, finetuning: further ones of each.
        processes: workers that the settings are meant for; another number shares the same batch.
        source_pieces: what is kept of the sources of the pairs; None: all.
    """

    pieces: int
    model: Flags
    pretraining: Flags
    finetuning: Flags
    processes: int = 1
    source_pieces: int | None = None


SMALL_SIZES = {
    f"--{side}-{name}": value
    for side in ("encoder", "decoder")
    for name, value in {"layers": 2, "embed-dim": 128, "ffn-embed-dim": 512, "attention-heads": 4}.items()
}

PRESETS = {
    # half an hour of one core, everything included; docs/training.md: why so
    "small": Preset(
        pieces=4000,
        source_pieces=DESCRIPTION,
        model={
            "--arch": "bang_tiny",
            **SMALL_SIZES,
            "--ngram": 4,
            "--max-source-positions": 128,
            "--max-target-positions": 128,
            "--optimizer": "torch_adamw",
            "--adam-betas": "(0.9, 0.98)",
            "--clip-norm": 1.0,
            "--label-smoothing": 0.1,
            "--lr": 2e-3,
            "--lr-scheduler": "polynomial_decay",
            "--warmup-updates": 200,
            "--dropout": 0,
            "--attention-dropout": 0,
            "--activation-dropout": 0,
        },
        pretraining={
            # then NAR in half of the updates, each span written whole; else chains after two places of a sample
            "--ar-updates": 480,
            "--nar-ratio": 0.5,
            "--anchors": 2,
            "--stream-weights": "3,1,1,1",
            "--max-tokens": 4096,
            "--tokens-per-sample": 128,
            # twice as many spans as the official recipe, as long as a synopsis: so short a run sees few targets
            "--mask-block": 32,
            "--mask-ratio": 0.3,
            "--total-num-update": 1600,
            "--max-update": 1600,
        },
        finetuning={
            "--ar-updates": 280,
            **CHEAP_STREAMS,
            "--max-tokens": 4000,
            "--total-num-update": 700,
            "--max-update": 700,
            "--validate-interval-updates": 100,
            "--truncate-source": True,
            "--skip-invalid-size-inputs-valid-test": True,
        },
    ),
    # the official checkpoint's: base sizes, 9 streams, 512 tokens a sample, 8 GPUs in bf16
    "base": Preset(
        pieces=30000,
        processes=8,
        model={
            "--arch": "bang_base",
            "--bf16": True,
            "--ngram": 9,
            "--max-source-positions": 512,
            "--max-target-positions": 512,
            "--clip-norm": 1.0,
            "--lr-scheduler": "inverse_sqrt",
        },
        pretraining={
            "--tokens-per-sample": 512,
            "--max-tokens": 16384,
            "--update-freq": 4,
            "--adam-betas": "(0.9, 0.999)",
            "--weight-decay": 0.01,
            "--lr": 3e-4,
            "--warmup-updates": 10000,
            "--max-epoch": 35,
            "--dropout": 0.1,
            "--attention-dropout": 0,  # FlexAttention has none
        },
        finetuning={
            "--max-tokens": 3072,
            "--adam-betas": "(0.9, 0.999)",
            "--weight-decay": 0.01,
            "--lr": 1e-4,
            "--warmup-updates": 1000,
            "--max-epoch": 20,
            "--dropout": 0.1,
            "--label-smoothing": 0.1,
            "--truncate-source": True,
            "--skip-invalid-size-inputs-valid-test": True,
        },
    ),
}

PARALLEL = {"--max-len-b": 40, "--collapse-repeats": True}
DECODINGS = {
    "ar": {"--decoding": "ar", "--beam": 1, "--max-len-b": 40},
    "semi_nar": {"--decoding": "semi_nar", "--block-size": 4, **PARALLEL},
    "nar": {"--decoding": "nar", **PARALLEL},
}
