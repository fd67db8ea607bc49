"""A folder as ``from_pretrained`` takes it."""

import shutil

import pytest

from bang_plugin.__main__ import main as bang


@pytest.fixture(scope="session")
def trained(toy_data, toy_checkpoint, tmp_path_factory):
    """The toy model with dictionaries and a tokeniser."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(toy_checkpoint, folder / "model.pt")
    for side in ("src", "tgt"):
        shutil.copy(toy_data / "bin" / f"dict.{side}.txt", folder)
    text = tmp_path_factory.mktemp("text") / "text"
    text.write_text("".join(c + "\n" for c in "abcdefgh" * 30))
    bang(["tokenise", "train", "--model", str(folder / "letters.model"), "--size", "12", str(text)])
    return folder
