"""Task ``bang_pretraining``: write the masked spans of plain text (paper section 3.1)."""

import logging
import os
from dataclasses import dataclass, field
from typing import Any, Optional, Self

from fairseq import utils
from fairseq.criterions import CRITERION_REGISTRY, FairseqCriterion
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from ..criterions.nstream_loss import NStreamLoss
from ..data.span_masking import SpanMasking, SpanMaskingDataset
from ..data.text_blocks import TextBlocks
from ..errors import BangError
from .data_folders import check_folders
from .dictionary_check import DictionaryCheck
from .guarded_task import GuardedTask
from .repeatable_batches import RepeatableBatches

logger = logging.getLogger(__name__)


@dataclass
class BangPretrainingConfig(FairseqDataclass):
    """Options of ``BangPretrainingTask``."""

    data: str = field(
        default=MISSING,
        metadata={"help": "folders that fairseq-preprocess --only-source wrote, separated by colons, one an epoch"},
    )
    tokens_per_sample: int = field(default=512, metadata={"help": "tokens per block of text"})
    # type: fairseq makes a class for the choices
    sample_break_mode: ChoiceEnum(["none", "complete", "complete_doc"]) = field(  # type: ignore[valid-type]
        default="none",
        metadata={
            "help": "none: blocks ignore line ends; complete: whole lines; complete_doc: of one document; "
            "a line longer than --tokens-per-sample is cut"
        },
    )
    mask_block: int = field(default=64, metadata={"help": "one span is masked in every so many tokens"})
    mask_ratio: float = field(default=0.15, metadata={"help": "share of a block that its span covers"})
    mask_token_prob: float = field(default=0.8, metadata={"help": "share of masked tokens that become the mask symbol"})
    random_token_prob: float = field(default=0.1, metadata={"help": "share of masked tokens that become random ones"})
    max_source_positions: int = field(default=512, metadata={"help": "size of the encoder's position table"})
    max_target_positions: int = field(default=512, metadata={"help": "size of the decoder's position table"})
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    dataset_impl: Optional[str] = II("dataset.dataset_impl")


@register_task("bang_pretraining", dataclass=BangPretrainingConfig)
class BangPretrainingTask(GuardedTask, DictionaryCheck, RepeatableBatches, FairseqTask):
    """Blocks of text with one masked span in every ``--mask-block`` tokens; train with ``nstream_loss``.

    The mask symbol is the dictionary's ``[MASK]`` or ``<mask>``.
    """

    def __init__(self, cfg: BangPretrainingConfig, dictionary: Dictionary):
        super().__init__(cfg)
        self.dictionary = dictionary
        mask = next((s for s in ("[MASK]", "<mask>") if s in dictionary.indices), None)
        if mask is None:
            raise BangError(
                f"{cfg.data}: the dictionary has neither [MASK] nor <mask>; add a line '<mask> 1' to it and binarise "
                "with fairseq-preprocess --srcdict"
            )
        self.masking = SpanMasking(
            mask=dictionary.index(mask),
            vocab_size=len(dictionary),
            first_random=min(dictionary.nspecial, len(dictionary) - 1),
            block=cfg.mask_block,
            ratio=cfg.mask_ratio,
            mask_prob=cfg.mask_token_prob,
            random_prob=cfg.random_token_prob,
        )
        if cfg.tokens_per_sample > min(cfg.max_source_positions, cfg.max_target_positions):
            raise BangError(
                f"--tokens-per-sample {cfg.tokens_per_sample} exceeds --max-source-positions "
                f"{cfg.max_source_positions} or --max-target-positions {cfg.max_target_positions}: spans keep their "
                "places in the text"
            )

    @classmethod
    def setup_task(cls, cfg: BangPretrainingConfig, **kwargs: Any) -> Self:
        """Load the dictionary of the first data folder.

        Raises:
            BangError: if the data folder has no usable dictionary.
        """
        first = utils.split_paths(cfg.data)[0]
        return cls(cfg, cls.load_dictionary(os.path.join(first, "dict.txt")))

    @classmethod
    def build_dictionary(cls, filenames: list[str], *args: Any, **kwargs: Any) -> Dictionary:
        """fairseq's, with the mask symbol."""
        dictionary = super().build_dictionary(filenames, *args, **kwargs)
        dictionary.add_symbol("<mask>")
        return dictionary

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Load a split; training goes through the folders of ``data``, one an epoch.

        Raises:
            BangError: if the split is missing.
        """
        paths = utils.split_paths(self.cfg.data)
        if split == self.cfg.train_subset:
            check_folders(self.cfg.data, [([split], self.dictionary)])
        folder = paths[(epoch - 1) % len(paths)] if split == self.cfg.train_subset else paths[0]
        prefix = os.path.join(folder, split)
        tokens = data_utils.load_indexed_dataset(prefix, self.dictionary, self.cfg.dataset_impl, combine=combine)
        if tokens is None:
            raise BangError(f"{prefix}: no binarised text; run fairseq-preprocess --only-source on it")
        longest, ends = self.cfg.tokens_per_sample, (self.dictionary.pad(), self.dictionary.eos())
        try:
            blocks = TextBlocks(tokens, longest, *ends, self.cfg.sample_break_mode)
        except BangError as error:
            raise BangError(f"{prefix}: {error}") from error
        if blocks.cut:
            logger.info("%s: %d lines are longer than --tokens-per-sample and were cut", prefix, blocks.cut)
        masked = SpanMaskingDataset(blocks, self.masking, self.dictionary.pad(), self.cfg.seed)
        masked.set_epoch(epoch)
        self.datasets[split] = masked

    def build_criterion(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqCriterion:
        """fairseq's, checked.

        Raises:
            BangError: for a criterion that does not know spans.
        """
        if not issubclass(CRITERION_REGISTRY[cfg._name], NStreamLoss):
            raise BangError(f"--criterion {cfg._name}: task bang_pretraining trains with nstream_loss")
        return super().build_criterion(cfg, from_checkpoint)

    def max_positions(self) -> tuple[int, int]:
        """Longest source and target, in tokens."""
        return (self.cfg.max_source_positions, self.cfg.max_target_positions)

    @property
    def source_dictionary(self) -> Dictionary:
        """The dictionary."""
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        """The same."""
        return self.dictionary
