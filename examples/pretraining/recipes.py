"""Settings of pretraining and of the fine-tuning that it is judged by."""

from dataclasses import dataclass

from examples.recipe import Flags

SPANS = {"--task": "bang_pretraining", "--criterion": "nstream_loss", "--label-smoothing": 0.1, "--optimizer": "adam"}
JOINT = {"--task": "bang", "--criterion": "nstream_loss", "--nar-ratio": 0.5, "--optimizer": "adam"}


@dataclass(frozen=True)
class Preset:
    """One size of everything.

    Attributes:
        pieces: size of the sentencepiece vocabulary.
        model: options of fairseq-train that both trainings share.
        pretraining, finetuning: further ones of each.
        processes: workers that the settings are meant for; another number shares the same batch.
    """

    pieces: int
    model: Flags
    pretraining: Flags
    finetuning: Flags
    processes: int = 1


SMALL_SIZES = {
    f"--{side}-{name}": value
    for side in ("encoder", "decoder")
    for name, value in {"layers": 2, "embed-dim": 192, "ffn-embed-dim": 768, "attention-heads": 4}.items()
}

PRESETS = {
    # about a quarter of an hour on 2 cores, everything included
    "small": Preset(
        pieces=8000,
        model={
            "--arch": "bang_tiny",
            **SMALL_SIZES,
            "--ngram": 4,
            "--max-source-positions": 128,
            "--max-target-positions": 128,
            "--adam-betas": "(0.9, 0.98)",
            "--clip-norm": 1.0,
            "--lr-scheduler": "polynomial_decay",
        },
        pretraining={
            "--tokens-per-sample": 128,
            # twice as many spans as the official recipe, and mostly stream 1: so short a run sees few targets
            "--mask-block": 32,
            "--mask-ratio": 0.3,
            "--stream-weights": "[1, 0.1, 0.1, 0.1]",
            "--max-tokens": 1024,
            "--lr": 1e-3,
            "--warmup-updates": 200,
            "--total-num-update": 2600,
            "--max-update": 2600,
            "--dropout": 0,
            "--attention-dropout": 0,
            "--activation-dropout": 0,
        },
        finetuning={
            "--max-tokens": 800,
            "--lr": 1e-3,
            "--warmup-updates": 100,
            "--total-num-update": 1400,
            "--max-update": 1400,
            "--validate-interval-updates": 100,
            "--dropout": 0.1,
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

DECODINGS = {
    "ar": {"--decoding": "ar", "--beam": 4, "--max-len-b": 40},
    "nar": {"--decoding": "nar", "--max-len-b": 40, "--collapse-repeats": True},
}
