"""Sources of 4,096 tokens: truncation against a longer position table, and against reading in chunks."""

from functools import partial
from pathlib import Path

from bang_plugin.evaluation.files import write_whole

from ..recipe import Mode, Recipe, decodings
from ..workspace import read_lines
from . import documents

SHORT = 512
CHUNKED = {
    "--user-dir": Path(__file__).parent / "bang_chunked",
    "--arch": "bang_chunked",
    "--source-chunk": SHORT,
}


def reading(positions: int, **options) -> Mode:
    return Mode({"--max-source-positions": positions, "--nar-ratio": 0.5, **options}, ("ar", "nar"))


def report(work, runs) -> None:
    """Plot how often the fact is found against how deep it lies."""
    from .plot import plot_depths

    places = documents.depths(read_lines(work.raw / "test.src"))
    right = {}
    for path in sorted(work.outputs.glob("*/*.txt")):
        pairs = zip(read_lines(path), read_lines(work.raw / "test.tgt"))
        right[f"{path.parent.name}, {path.stem}"] = [hypothesis == target for hypothesis, target in pairs]
    write_whole(work.folder / "depths.png", partial(plot_depths, places, right))


RECIPE = Recipe(
    name="long_documents",
    title="Find a fact in a document of 4,096 tokens: truncated, whole, or read in chunks.",
    source=documents.write,
    training={
        "--arch": "bang_tiny",
        "--encoder-layers": 1,
        "--decoder-layers": 1,
        "--encoder-embed-dim": 64,
        "--decoder-embed-dim": 64,
        "--encoder-ffn-embed-dim": 256,
        "--decoder-ffn-embed-dim": 256,
        "--encoder-attention-heads": 2,
        "--decoder-attention-heads": 2,
        "--dropout": 0,
        "--attention-dropout": 0,
        "--activation-dropout": 0,
        "--criterion": "nstream_loss",
        "--optimizer": "adam",
        "--clip-norm": 1.0,
        "--lr": 2e-3,
        "--lr-scheduler": "polynomial_decay",
        "--warmup-updates": 50,
        "--max-update": 600,
        "--total-num-update": 600,
        # as many documents per update in every mode, however much of them it reads
        "--batch-size": 8,
        "--max-tokens": 8 * documents.LENGTH,
        "--max-target-positions": 16,
        "--truncate-source": True,
    },
    modes={
        "truncated": reading(SHORT),
        "long": reading(documents.LENGTH),
        "chunked": reading(documents.LENGTH, **CHUNKED),
    },
    decodings={name: {**options, "--beam": 1} for name, options in decodings(longest=8, collapse=False).items()},
    metrics={"exact": ("exact_match",)},
    pieces=0,
    report=report,
)
