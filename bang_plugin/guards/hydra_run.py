"""fairseq-hydra-train: the guards before its processes start, and paths as the user meant them.

Hydra may change the working directory to a folder for the run's output. What is written goes there; what is read was
named from where the command was started.
"""

import os

from hydra.utils import get_original_cwd
from omegaconf import DictConfig, OmegaConf

from . import table

READ = {
    *("data", "finetune_from_model", "load_from_pretrained_model", "restore_file", "quantization_config_path"),
    *("sentencepiece_model", "wordpiece_vocab", "bpe_codes"),
}
IN_SAVE_DIR = "checkpoint_last.pt"  # fairseq looks for a --restore-file of this name there


def prepare(cfg: DictConfig) -> None:
    """Called with the configuration as Hydra put it together, in the run's folder; changes its paths in place."""
    table.install()
    _from_the_start(cfg, get_original_cwd())


def _from_the_start(cfg: DictConfig, start: str) -> None:
    for name in cfg:
        if OmegaConf.is_missing(cfg, name):
            continue
        value = cfg[name]
        if isinstance(value, DictConfig):
            _from_the_start(value, start)
        elif name in READ and isinstance(value, str) and value != IN_SAVE_DIR:
            cfg[name] = os.pathsep.join(
                path if not path or os.path.exists(path) else os.path.join(start, path)
                for path in value.split(os.pathsep)
            )
