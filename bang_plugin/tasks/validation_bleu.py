"""BLEU in validation, of one decoding or several in the same run."""

import logging
from argparse import Namespace
from functools import partial
from typing import Any, Dict, List, Optional, Self, Tuple

from fairseq import metrics, utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import encoders
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.configs import GenerationConfig
from fairseq.logging.meters import MetersDict
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from fairseq.tasks.translation import EVAL_BLEU_ORDER, TranslationTask
from omegaconf import OmegaConf, ValidationError
from sacrebleu.metrics.bleu import BLEU

from ..decoding import registry
from ..decoding.option_table import GENERATION_OPTIONS, OPTIONS, TASK_OPTIONS, default
from ..decoding.options import json_object, with_options
from ..errors import BangError, first_line, near

logger = logging.getLogger(__name__)

STATISTICS = [f"{kind}{n}" for kind in ("counts", "totals") for n in range(EVAL_BLEU_ORDER)] + ["sys_len", "ref_len"]


class ValidationBleu(FairseqTask):
    """Task mix-in, before fairseq's translation task: ``--eval-bleu`` for every decoding of ``--eval-decodings``.

    ``<decoding>_bleu`` is logged for each, and ``bleu`` is that of the first.
    """

    bleu_generators: Optional[Dict[str, Any]]

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> BaseFairseqModel:
        """fairseq's, and what validation will write with.

        Raises:
            BangError: in training, for options of ``--eval-bleu`` that cannot be used.
        """
        model = super(TranslationTask, self).build_model(cfg, from_checkpoint)
        self.bleu_generators = None
        if not from_checkpoint:
            self.prepare_bleu(model)
        return model

    def prepare_bleu(self, model: BaseFairseqModel) -> None:
        """Build what validation will write with; nothing without ``--eval-bleu``."""
        self.bleu_generators = generators = {}
        if not self.cfg.eval_bleu:
            if self.cfg.eval_decodings:
                raise BangError("--eval-decodings needs --eval-bleu")
            return
        detokeniser = self.cfg.eval_bleu_detok
        if detokeniser not in encoders.TOKENIZER_REGISTRY:
            raise BangError(f"--eval-bleu-detok {detokeniser}: choose one of {', '.join(encoders.TOKENIZER_REGISTRY)}")
        options = json_object("--eval-bleu-detok-args", self.cfg.eval_bleu_detok_args)
        try:
            self.tokenizer = encoders.build_tokenizer(Namespace(tokenizer=detokeniser, **options))
        except Exception as error:  # each is code of its own, with packages and files of its own
            raise BangError(f"--eval-bleu-detok {detokeniser}: {first_line(error)}") from error
        for decoding, options in eval_options(self.cfg).items():
            search = {name: options.pop(name) for name in list(options) if name in GENERATION_OPTIONS}
            try:
                args = OmegaConf.merge(OmegaConf.structured(GenerationConfig), search)
                generators[decoding] = with_options(self, options).build_generator([model], args)
            except (BangError, ValidationError, ValueError, AssertionError) as error:
                raise BangError(f"--eval-bleu-args {self.cfg.eval_bleu_args}: {first_line(error)}") from error
            logger.info("--eval-bleu: %s_bleu is of --decoding %s", decoding, decoding)

    def for_trial(self, model: BaseFairseqModel) -> Self:
        """A copy whose generators write no trace: for a sentence that is validated on before training starts."""
        view = with_options(self, {"print_trace": False, "trace_file": None})
        view.prepare_bleu(model)
        return view

    def valid_step(
        self, sample: Dict[str, Any], model: BaseFairseqModel, criterion: FairseqCriterion
    ) -> Tuple[Any, Any, Dict[str, Any]]:
        """fairseq's for any task, and for each decoding the counts that its BLEU is made of."""
        loss, sample_size, log = super(TranslationTask, self).valid_step(sample, model, criterion)
        if self.bleu_generators is None:
            self.prepare_bleu(model)
        for decoding, generator in (self.bleu_generators or {}).items():
            bleu = self._inference_with_bleu(generator, sample, model)
            values = [*bleu.counts, *bleu.totals, bleu.sys_len, bleu.ref_len]
            log.update({f"_{decoding}_bleu_{name}": value for name, value in zip(STATISTICS, values)})
        return loss, sample_size, log

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion: FairseqCriterion) -> None:
        """The criterion's, and ``<decoding>_bleu`` from the sums over batches and workers."""
        super(TranslationTask, self).reduce_metrics(logging_outputs, criterion)
        decodings = list(self.bleu_generators or ())
        for decoding in decodings:
            keys = [f"_{decoding}_bleu_{name}" for name in STATISTICS]
            if any(keys[0] in log for log in logging_outputs):  # not in training
                for key in keys:
                    metrics.log_scalar_sum(key, utils.item(sum(log.get(key, 0) for log in logging_outputs)))
                first = decoding == decodings[0]
                for name in ["bleu"] * first + [f"{decoding}_bleu"]:
                    metrics.log_derived(name, partial(_bleu, keys=keys))


def eval_options(cfg: Any) -> Dict[str, Dict[str, Any]]:
    """Options of each decoding that validation writes with, by its name.

    With several decodings an option goes to those that it has an effect on; with one, all go to it, so that options
    without effect are refused or warned of as on the command line.

    Args:
        cfg: task options, see ``BangConfig``.

    Raises:
        BangError: for a name that is unknown or cannot be used in validation.
    """
    given = json_object("--eval-bleu-args", cfg.eval_bleu_args)
    known = {"decoding", *(name for name, option in OPTIONS.items() if option.in_validation)}
    for name in given:
        if name in OPTIONS.keys() - known:
            raise BangError(f"--eval-bleu-args: {name} cannot be used in validation")
        if name not in known:
            raise BangError(f"--eval-bleu-args: unknown option {name}{near(name, known)}")
    if cfg.eval_decodings and "decoding" in given:
        raise BangError("--eval-bleu-args: name the decoding here or in --eval-decodings, not in both")
    decodings = cfg.eval_decodings.split(",") if cfg.eval_decodings else [given.pop("decoding", cfg.decoding)]
    for decoding in decodings:
        registry.find(decoding, "--eval-decodings" if cfg.eval_decodings else "--eval-bleu-args: decoding")
    return {decoding: _options_of(decoding, decodings, given) for decoding in decodings}


def _options_of(decoding: str, decodings: List[str], given: Dict[str, Any]) -> Dict[str, Any]:
    # what the command line asks of the task's own decoding may have no meaning for another
    options = {name: default(name) for name in TASK_OPTIONS if registry.needs(name, decoding)}
    for name, value in given.items():
        effective = [d for d in decodings if d in registry.readers(name)]
        if decoding in effective or not effective:
            options[name] = value
    return {"decoding": decoding, **options}


def _bleu(meters: MetersDict, keys: List[str]) -> float:
    """Corpus BLEU from the sums of a validation set, as sacrebleu's."""
    *counts, sys_len, ref_len = (int(meters[key].sum) for key in keys)
    correct, total = counts[:EVAL_BLEU_ORDER], counts[EVAL_BLEU_ORDER:]
    return round(BLEU.compute_bleu(correct, total, sys_len, ref_len, smooth_method="exp").score, 2)
