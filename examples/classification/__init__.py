"""Text classification two ways: a head on the decoder's last state, and the label written as text by NAR."""

from ..recipe import Mode, Recipe, decodings
from . import docstrings, heads

CLASSES = len(docstrings.PACKAGES)
LONGEST = 256
DROPOUT = 0.2


RECIPE = Recipe(
    name="classification",
    title="Which package does a documentation paragraph come from? A classification head against labels as text.",
    source=docstrings.write,
    # a small model trained from nothing, in minutes on one core: of small batches, since updates count most
    training={
        "--encoder-layers": 2,
        "--decoder-layers": 2,
        "--encoder-embed-dim": 128,
        "--decoder-embed-dim": 128,
        "--encoder-ffn-embed-dim": 512,
        "--decoder-ffn-embed-dim": 512,
        "--encoder-attention-heads": 4,
        "--decoder-attention-heads": 4,
        "--dropout": DROPOUT,
        "--optimizer": "adam",
        "--clip-norm": 1.0,
        "--lr": 1e-3,
        "--lr-scheduler": "polynomial_decay",
        "--warmup-updates": 100,
        "--max-update": 1000,
        "--total-num-update": 1000,
        "--batch-size": 32,
    },
    modes={
        "head": Mode(
            {
                "--user-dir": heads.PLUGIN,
                "--task": "bang_classification",
                "--arch": "bang_classifier",
                "--criterion": "sentence_prediction",
                "--num-classes": CLASSES,
                "--add-prev-output-tokens": True,
                "--max-positions": LONGEST,
                "--shorten-method": "truncate",
                "--best-checkpoint-metric": "accuracy",
                "--maximize-best-checkpoint-metric": True,
            },
            decodings=(),
            write=heads.write,
        ),
        "text": Mode(
            {
                "--arch": "bang_tiny",
                "--criterion": "nstream_loss",
                "--nar-ratio": 1,
                "--max-source-positions": LONGEST,
                "--max-target-positions": LONGEST,
                "--truncate-source": True,
            },
            decodings=("nar",),
        ),
    },
    decodings=decodings(longest=16, collapse=False),
    metrics={"exact": ("exact_match",)},
    pieces=4000,
    extra_data=heads.binarise,
    report=heads.report,
)
