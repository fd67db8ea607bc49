"""Data and models that the tests of reliability share."""

import numpy as np
import pytest

from tests.command_line import fairseq
from tests.conftest import SMALL


@pytest.fixture(scope="session")
def plain_text(tmp_path_factory):
    """Binarised text to pretrain on: 400 lines of letters."""
    folder = tmp_path_factory.mktemp("plain_text")
    random = np.random.default_rng(1)
    lines = (" ".join(random.choice(list("abcdefgh"), random.integers(5, 30))) for _ in range(400))
    (folder / "text").write_text("".join(line + "\n" for line in lines))
    fairseq(
        *("preprocess", "--only-source", "--task", "bang_pretraining"),
        *("--trainpref", folder / "text", "--destdir", folder / "bin"),
    )
    return folder / "bin"


@pytest.fixture(scope="session")
def training(toy_data, plain_text):
    """Arguments of fairseq-train by task, short of the folder to save in and of when to stop."""
    common = [*SMALL, "--dropout", 0.1, "--ngram", 3]
    blocks = ["--tokens-per-sample", 20, "--mask-block", 10, "--mask-ratio", 0.3, "--disable-validation"]
    return {
        "bang": [toy_data / "bin", "--task", "bang", *common, "--nar-ratio", 0.3],
        "bang_pretraining": [plain_text, "--task", "bang_pretraining", *common, *blocks],
    }
