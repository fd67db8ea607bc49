"""``--format safetensors``: a folder that ``from_pretrained`` loads without pickle."""

from pathlib import Path

from omegaconf import OmegaConf, open_dict

from ..checkpoints import tensor_files
from .source import Source


def write(source: Source, folder: Path) -> list[str]:
    """Write parameters, configuration, dictionaries and tokeniser.

    Returns:
        names of the files.
    """
    cfg = source.cfg.copy()
    with open_dict(cfg):
        cfg.task.data = "."  # the dictionaries lie beside it
        for name in ("sentencepiece_model", "wordpiece_vocab"):
            if source.tokeniser is not None and OmegaConf.is_config(cfg.get("bpe")) and cfg.bpe.get(name):
                cfg.bpe[name] = source.tokeniser.name
    plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    assert isinstance(plain, dict)
    values = {str(key): value for key, value in plain.items()}
    tensor_files.write(folder, source.model.state_dict(), values, source.task.state_dict())
    dictionaries = [f"dict.{language}.txt" for language in (source.task.cfg.source_lang, source.task.cfg.target_lang)]
    for name in dictionaries:
        source.dictionary.save(str(folder / name))
    return [tensor_files.NAME, tensor_files.CONFIG, *dictionaries, *source.copy_tokeniser(folder)]
