"""A task that a tiny BANG learns in a minute, for the notebooks: letters, written backwards in capitals."""

import json
import random
from pathlib import Path
from typing import Any

from ..recipe import option_list
from ..workspace import fairseq, read_lines, write_lines

SIZES = {"train": 2000, "valid": 100, "test": 200}
LETTERS, LONGEST = "abcdefgh", 10
MODEL = {
    "--arch": "bang_tiny",
    "--encoder-layers": 2,
    "--decoder-layers": 2,
    "--encoder-embed-dim": 64,
    "--decoder-embed-dim": 64,
    "--encoder-ffn-embed-dim": 128,
    "--decoder-ffn-embed-dim": 128,
    "--max-source-positions": 20,
    "--max-target-positions": 20,
    "--dropout": 0,
}
TRAINING = {
    "--criterion": "nstream_loss",
    "--ngram": 4,
    "--nar-ratio": 0.5,
    "--optimizer": "torch_adamw",
    "--lr": 3e-3,
    "--lr-scheduler": "polynomial_decay",
    "--warmup-updates": 50,
    "--clip-norm": 1.0,
    "--max-tokens": 800,
    "--seed": 1,
}


def data(folder: Path) -> Path:
    """Write ``{train,valid,test}.{src,tgt}`` and what fairseq-preprocess makes of them; returns that folder."""
    draw = random.Random(1)
    for part, size in SIZES.items():
        texts = [draw.choices(LETTERS, k=draw.randint(3, LONGEST)) for _ in range(size)]
        write_lines(folder / f"{part}.src", (" ".join(text) for text in texts))
        write_lines(folder / f"{part}.tgt", (" ".join(text[::-1]).upper() for text in texts))
    prefixes = [option for part in SIZES for option in (f"--{part}pref", folder / part)]
    sides = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    fairseq("preprocess", "--task", "bang", *sides, *prefixes, "--destdir", folder / "bin", output=folder / "log")
    return folder / "bin"


def train(folder: Path, updates: int, **changes: Any) -> list[dict[str, float]]:
    """Train on `data` with some of ``TRAINING``'s options changed (``nar_ratio=0``); returns the numbers of the log."""
    own = {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    length = {"--max-update": updates, "--total-num-update": updates}
    options = option_list(MODEL, TRAINING, length, own)
    quiet = ["--log-format", "json", "--log-interval", 20, "--disable-validation", "--no-epoch-checkpoints"]
    log = folder / "train.log"
    fairseq("train", folder / "bin", "--task", "bang", "--cpu", "--save-dir", folder, *quiet, *options, output=log)
    lines = [json.loads(line[line.index("{") :]) for line in read_lines(log) if '"num_updates"' in line]
    names = ("num_updates", "ar_nll", "all_nll", "nar_nll", "lr", "gnorm")
    return [{name: float(line[name]) for name in names if name in line} for line in lines if "lr" in line]


def load(folder: Path) -> Any:
    """The trained model, as ``BangModel.from_pretrained`` gives it."""
    from bang_plugin.models.bang import BangModel

    return BangModel.from_pretrained(str(folder), "checkpoint_last.pt", data_name_or_path=str(folder / "bin"), cpu=True)
