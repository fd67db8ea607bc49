"""What is exported: one model with its configuration, dictionary and tokeniser."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary
from omegaconf import DictConfig

from ..errors import BangError
from ..hub.loading import is_cased, open_checkpoint, tokeniser_file
from ..models.bang import BangModel
from ..tasks.bang import BangTask


@dataclass
class Source:
    """A model that has been loaded to be exported.

    Attributes:
        folder: that it comes from.
        cfg, task: of its checkpoint.
        model: in float32, not packed.
        tokeniser: its file, if there is one.
        cased: whether its word pieces keep upper case.
    """

    folder: str
    cfg: DictConfig
    task: BangTask
    model: BangModel
    tokeniser: Path | None
    cased: bool = False

    @property
    def dictionary(self) -> Dictionary:
        """Of source and target, which are one."""
        return self.task.target_dictionary

    def copy_tokeniser(self, folder: Path) -> list[str]:
        """Lay the tokeniser's file into a folder; its name, if there is one."""
        if self.tokeniser is None:
            return []
        shutil.copyfile(self.tokeniser, folder / self.tokeniser.name)
        return [self.tokeniser.name]


def load(folder: str, checkpoint_file: str | None = None, data: str | None = None) -> Source:
    """Load what ``from_pretrained`` would.

    Raises:
        BangError: as there, and for an ensemble or a model of another kind.
    """
    cfg, task, models = open_checkpoint(folder, checkpoint_file, data, {})
    check_alone(models, checkpoint_file or folder)
    model = models[0]
    if type(model) is not BangModel:
        raise BangError(f"{folder}: a model of class {type(model).__name__}, whose own parts export does not know")
    return Source(folder, cfg, task, model.float().eval(), _tokeniser(Path(folder), cfg), is_cased(cfg))


def check_alone(models: list[Any], name: str) -> None:
    """Check that there is one model, with all of its parameters.

    Raises:
        BangError: if it is an ensemble, or its weights are packed.
    """
    if len(models) != 1:
        raise BangError(f"{name}: an ensemble of {len(models)} models; export one (bang average makes one of several)")
    if models[0].decoder.packed_output is not None:
        raise BangError(f"{name}: its weights are packed for generating here: load it anew to export it")


def _tokeniser(folder: Path, cfg: DictConfig) -> Path | None:
    """Beside the checkpoint, or where the checkpoint says that it lies."""
    found = tokeniser_file(folder)
    saved = cfg.get("bpe")
    if found is None and isinstance(saved, DictConfig):
        names = ("sentencepiece_model", "wordpiece_vocab")
        found = next((Path(saved[name]) for name in names if saved.get(name) and Path(saved[name]).is_file()), None)
    return found
