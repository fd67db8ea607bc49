"""Task ``bang``: sequence to sequence with a choice of decoding."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Self, Tuple

import numpy as np
import torch
from fairseq import utils
from fairseq.data import Dictionary, FairseqDataset, LanguagePairDataset, data_utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from ..data.nar_targets import NarTargets
from ..decoding import registry
from ..decoding.option_table import TASK_OPTIONS
from ..decoding.options import build_generator, check_generation_options, check_task_options
from ..errors import BangError
from ..models.inference import QUANTIZE
from .data_folders import check_folders
from .dictionary_check import DictionaryCheck
from .guarded_task import GuardedTask
from .repeatable_batches import RepeatableBatches
from .validation_bleu import ValidationBleu


@dataclass
class BangConfig(TranslationConfig):
    """Options of ``BangTask``: fairseq's translation task's, and those of how to write."""

    nar_data: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder with the same training sources and other targets, such as a teacher's (distillation), "
            "which NAR updates take; all others keep the data's own"
        },
    )
    decoding: str = field(default="ar", metadata={"help": "how to write"})
    block_size: int = field(default=4, metadata={"help": "tokens drafted per pass"})
    draft_width: Optional[int] = field(
        default=None,
        metadata={
            "help": "prefixes of one length that a pass reads ahead in beam search; default: as many as make it "
            "fastest where it runs, perhaps none"
        },
    )
    tolerance: float = field(
        default=1.0,
        metadata={
            "help": "a drafted token is kept if AR's log-probability of it is at least the best token's minus this "
            "(nats); 0: greedy AR, inf: semi_nar"
        },
    )
    confidence: float = field(
        default=0.5,
        metadata={
            "help": "probability from which a drafted token is kept (label smoothing keeps most below 0.9); "
            "0: semi_nar, above 1: greedy AR"
        },
    )
    eval_decodings: Optional[str] = field(
        default=None,
        metadata={
            "help": "with --eval-bleu: decodings to validate by, comma-separated, each logged as <decoding>_bleu, the "
            "first as bleu too; their options go into --eval-bleu-args; default: --decoding"
        },
    )
    collapse_repeats: bool = field(
        default=False,
        metadata={
            "help": "drop pieces, then words, that repeat their predecessor; nar also passes over end symbols before "
            "the first token"
        },
    )
    nar_chunk: int = field(
        default=32, metadata={"help": "masks per decoder pass; more passes follow where a sentence is longer"}
    )
    nar_candidates: int = field(
        default=1, metadata={"help": "chains that are written, of which AR's stream chooses one in a further pass"}
    )
    print_trace: bool = field(
        default=False, metadata={"help": "print which tokens came in which pass, with probabilities"}
    )
    trace_file: Optional[str] = field(default=None, metadata={"help": "write the same to this file as JSON lines"})
    decoding_args: Optional[str] = field(
        default=None, metadata={"help": "options of a decoding that a --user-dir adds, as JSON: '{\"threshold\": 0.5}'"}
    )
    # type: fairseq makes a class for the choices
    quantize: ChoiceEnum(QUANTIZE) = field(  # type: ignore[valid-type]
        default="none",
        metadata={"help": "generation on a CPU: linear layers in bf16 or int8, faster, at the price of some tokens"},
    )
    compile: bool = field(
        default=False,
        metadata={"help": "generation on a GPU: layers compiled, for small batches; the first sentences take longer"},
    )

    def _get_help(self, attribute_name: str) -> Any:
        """fairseq's text for ``--help``, and in which decodings an option has an effect."""
        if attribute_name == "decoding":
            return "; ".join(f"{decoding.name}: {decoding.help}" for decoding in registry.decodings())
        text, readers = super()._get_help(attribute_name), registry.readers(attribute_name)
        everywhere = len(readers) == len(registry.names())
        return f"{text} ({', '.join(readers)})" if readers and not everywhere else text


@register_task("bang", dataclass=BangConfig)
class BangTask(GuardedTask, DictionaryCheck, RepeatableBatches, ValidationBleu, TranslationTask):
    """fairseq's translation task with BANG's decoding modes, checked input and BERT dictionaries."""

    decoding_options = ("decoding", *TASK_OPTIONS)

    def __init__(self, cfg: BangConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        super().__init__(cfg, src_dict, tgt_dict)
        check_task_options(cfg)
        if cfg.upsample_primary == -1:  # fairseq's default, for which it repeats train -1 times beside a train1
            cfg.upsample_primary = 1
        if cfg.upsample_primary < 1:
            raise BangError(f"--upsample-primary {cfg.upsample_primary}: train is repeated so often, 1 time at least")
        self.line_numbers: Optional[List[int]] = None  # of fairseq-interactive's batch, see guards/text_input.py

    @classmethod
    def setup_task(cls, cfg: BangConfig, **kwargs: Any) -> Self:
        """fairseq's, checked.

        Raises:
            BangError: if the data folder, the language pair or a dictionary is not usable.
        """
        if not cfg.data:
            raise BangError("name the folder that fairseq-preprocess wrote")
        _infer_languages(cfg)
        try:
            return super().setup_task(cfg, **kwargs)
        except BangError:
            raise
        except Exception as error:  # fairseq raises bare Exception, or OSError from os.listdir
            if "language pair" in str(error) or isinstance(error, OSError):
                raise BangError(
                    f"{cfg.data}: {error}; give the folder that fairseq-preprocess wrote, "
                    "with --source-lang and --target-lang"
                ) from error
            raise

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """fairseq's, checked.

        Raises:
            BangError: if there is no such split, or lines of source and target do not belong together.
        """
        if split == self.cfg.train_subset:
            pairs = [f"{self.cfg.source_lang}-{self.cfg.target_lang}", f"{self.cfg.target_lang}-{self.cfg.source_lang}"]
            sides = ((self.cfg.source_lang, self.src_dict), (self.cfg.target_lang, self.tgt_dict))
            check_folders(self.cfg.data, [([f"{split}.{p}.{lang}" for p in pairs], d) for lang, d in sides])
        try:
            super().load_dataset(split, epoch, combine, **kwargs)
        except FileNotFoundError as error:
            raise BangError(
                f"{error}: fairseq-preprocess wrote no such split; see --train-subset, --valid-subset, --gen-subset"
            ) from error
        except AssertionError as error:
            raise BangError(f"{self.cfg.data}, {split}: {error}; binarise both sides again") from error
        if split == self.cfg.train_subset and self.cfg.nar_data:
            self.datasets[split] = self._with_nar_targets(split, epoch, combine, **kwargs)
        sizes = self.datasets[split].sizes
        if len(sizes) and sizes.min() < 1:
            line = int(np.flatnonzero(sizes.reshape(len(sizes), -1).min(1) < 1)[0]) + 1
            raise BangError(f"{self.cfg.data}, {split}: line {line} has not even an end symbol; binarise again")

    def _with_nar_targets(self, split: str, epoch: int, combine: bool, **kwargs: Any) -> NarTargets:
        """The split, whose NAR updates have the targets of ``--nar-data``."""
        pairs, other = self.datasets[split], copy.copy(self)
        other.cfg, other.datasets = copy.copy(self.cfg), {}
        other.cfg.data, other.cfg.nar_data = self.cfg.nar_data, None
        other.load_dataset(split, epoch, combine, **kwargs)
        return NarTargets(pairs, other.datasets[split], self.cfg.nar_data)

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """fairseq's; texts that are longer than the model can read are too long for the task."""
        model = super().build_model(cfg, from_checkpoint)
        # data may be truncated to, never beyond, what the model can read
        for side in ("max_source_positions", "max_target_positions"):
            limit = getattr(cfg, side, None)
            if limit is not None and limit < getattr(self.cfg, side):
                setattr(self.cfg, side, limit)
        return model

    def build_generator(
        self,
        models: List[Any],
        args: Any,
        seq_gen_cls: Optional[type] = None,
        extra_gen_cls_kwargs: Optional[Dict[str, Any]] = None,
        **kwargs: Any,
    ) -> Any:
        """The generator of ``--decoding``.

        It is a fairseq ``SequenceGenerator`` for ``ar``, a ``BlockGenerator`` for other modes; to score
        references, a ``SequenceScorer`` or a ``BlockScorer``.

        Raises:
            BangError: for options that the mode has no meaning for, or a model that is not BANG.
        """
        check_generation_options(self.cfg, args, len(self.target_dictionary))
        option = "prefix_allowed_tokens_fn"
        if kwargs.get(option) and (lacks := registry.needs(option, self.cfg.decoding)):
            raise BangError(f"{option} {lacks}")
        fairseqs = super().build_generator

        def fairseq_search(kind: Callable[..., Any]) -> Any:
            return fairseqs(models, args, seq_gen_cls or kind, extra_gen_cls_kwargs, **kwargs)

        decoding = registry.find(self.cfg.decoding)
        language_model = (extra_gen_cls_kwargs or {}).get("lm_model")
        return build_generator(
            registry.GeneratorRequest(
                decoding,
                self.cfg,
                args,
                models,
                self.target_dictionary,
                fairseq_search,
                restricted=bool(kwargs.get(option)),
                language_model=language_model,
            )
        )

    def inference_step(
        self,
        generator: Any,
        models: List[Any],
        sample: Dict[str, Any],
        prefix_tokens: Optional[torch.Tensor] = None,
        constraints: Optional[torch.Tensor] = None,
    ) -> List[List[Dict[str, Any]]]:
        """fairseq's, of sentences that have the numbers of fairseq-interactive's lines."""
        if "id" not in sample and self.line_numbers is not None:
            device = sample["net_input"]["src_tokens"].device  # fairseq's search leaves out sentences on it
            sample = {**sample, "id": torch.tensor(self.line_numbers, device=device)}
        return super().inference_step(generator, models, sample, prefix_tokens, constraints)

    def build_dataset_for_inference(
        self,
        src_tokens: List[torch.Tensor],
        src_lengths: List[int],
        constraints: Optional[List[torch.Tensor]] = None,
        targets: Optional[List[torch.Tensor]] = None,
    ) -> LanguagePairDataset:
        """Dataset of new source sentences, cut to ``--max-source-positions`` with ``--truncate-source``.

        Args:
            src_tokens: LongTensors ``(src_len,)``, end symbol included.
            src_lengths: their lengths.
            constraints: of fairseq's constrained search.
            targets: LongTensors ``(tgt_len,)`` to score, or None.
        """
        limit = self.cfg.max_source_positions
        if self.cfg.truncate_source:
            # as in training: the end symbol stays
            src_tokens = [t if len(t) <= limit else torch.cat([t[: limit - 1], t[-1:]]) for t in src_tokens]
            src_lengths = [len(t) for t in src_tokens]
        return LanguagePairDataset(
            src_tokens,
            src_lengths,
            self.source_dictionary,
            targets,
            None if targets is None else [len(t) for t in targets],
            self.target_dictionary,
            constraints=constraints,
        )

    def filter_indices_by_size(
        self,
        indices: np.ndarray,
        dataset: FairseqDataset,
        max_positions: Optional[Tuple[int, int]] = None,
        ignore_invalid_inputs: bool = False,
    ) -> np.ndarray:
        """fairseq's, with the line of a sentence that is too long.

        Raises:
            BangError: if a sentence is too long and may not be skipped.
        """
        kept, ignored = dataset.filter_indices_by_size(np.array(indices), max_positions)
        if len(ignored) > 0 and not ignore_invalid_inputs:
            index = min(ignored)
            source, target = map(int, dataset.size(index))
            ways = "--truncate-source, a larger --max-source-positions"
            if max_positions is not None and source <= max_positions[0]:
                ways = "a larger --max-target-positions"
            raise BangError(
                f"line {index + 1}: {source, target} tokens (source, target) are more than {max_positions}; "
                f"use {ways}, or --skip-invalid-size-inputs-valid-test"
            )
        return super().filter_indices_by_size(indices, dataset, max_positions, ignore_invalid_inputs)


def _infer_languages(cfg: BangConfig) -> None:
    """Where there are no data to tell the languages, as beside a checkpoint, the two dictionaries' names do.

    Which of them is the source's makes no difference, since they are alike.
    """
    folder = Path(utils.split_paths(cfg.data)[0])
    if not folder.is_dir() or None not in (cfg.source_lang, cfg.target_lang):
        return
    languages = sorted(path.name[len("dict.") : -len(".txt")] for path in folder.glob("dict.?*.txt"))
    if len(languages) == 2 and None in data_utils.infer_language_pair(str(folder)):
        cfg.source_lang, cfg.target_lang = languages if cfg.source_lang != languages[1] else languages[::-1]
