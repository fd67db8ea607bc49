"""BANG from Python: ``BangModel.from_pretrained(folder)`` gives fairseq's hub interface with ``decoding=…``."""

import copy
from pathlib import Path
from typing import List, Optional, Union

import torch
from fairseq import checkpoint_utils, utils
from fairseq.data import LanguagePairDataset, encoders
from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig
from fairseq.dataclass.configs import GenerationConfig
from fairseq.hub_utils import GeneratorHubInterface
from omegaconf import ValidationError

from ..data.wordpiece import Wordpiece, WordpieceConfig
from ..decoding.options import check_task_options
from ..errors import BangError
from ..guards import table

CHECKPOINTS = ("model.pt", "checkpoint_best.pt", "checkpoint_last.pt")
DECODING_OPTIONS = (
    "decoding",
    "block_size",
    "confidence",
    "nar_chunk",
    "nar_candidates",
    "collapse_repeats",
    "print_trace",
    "trace_file",
)


class BangHub(GeneratorHubInterface):
    """Texts in, texts or hypotheses out.

    It may be used by several threads at once: no call changes what another one sees.
    """

    def __init__(self, cfg, task, models, bpe=None):
        super().__init__(cfg, task, models)
        self.bpe = bpe or self.bpe
        self.eval()

    def generate(self, texts, beam: int = 5, verbose: bool = False, skip_invalid_size_inputs=False, **options):
        """Write an answer to every text.

        Args:
            texts: strings, or token ids as :meth:`encode` gives them, ``(src_len,)`` each; or a single one.
            beam: of ``decoding="ar"``.
            options: of decoding (``decoding``, ``block_size``, ``confidence``, …) and of fairseq's generation
                (``lenpen``, ``max_len_b``, …) under their command-line names. Every call begins ``trace_file`` anew.

        Returns:
            for each text a list of hypotheses, best first, as fairseq's generators give them (``tokens``,
            ``score``, ``positional_scores``, ``passes``, …) with their ``text``; for a single text its list.

        Raises:
            BangError: for an unknown option, a value out of range or a text that is too long.
        """
        if isinstance(texts, str) or torch.is_tensor(texts) and texts.dim() == 1:
            return self.generate([texts], beam, verbose, skip_invalid_size_inputs, **options)[0]
        if not len(texts):
            return []
        tokens = [self.encode(text) if isinstance(text, str) else text for text in texts]
        chosen = {name: options.pop(name) for name in DECODING_OPTIONS if name in options}
        known = GenerationConfig.__dataclass_fields__
        for name in options:
            if name not in known and name not in ("inference_step_args", "prefix_allowed_tokens_fn"):
                raise BangError(f"unknown option {name}; decoding has {', '.join(DECODING_OPTIONS)}")
        results = self._with_options(chosen)._generate(tokens, beam, verbose, skip_invalid_size_inputs, options)
        for hypotheses in results:
            for hypothesis in hypotheses:
                hypothesis["text"] = self.decode(hypothesis["tokens"])
        return results

    def _generate(self, tokens, beam, verbose, skip, options):
        return super().generate(tokens, beam, verbose, skip, **options)

    def _with_options(self, chosen: dict) -> "BangHub":
        """The same models under decoding options of its own."""
        view = copy.copy(self)
        view.task = copy.copy(self.task)
        view.task.cfg = copy.copy(self.task.cfg)
        for name, value in chosen.items():
            try:
                setattr(view.task.cfg, name, value)
            except ValidationError as error:
                raise BangError(f"{name}={value!r}: {str(error).splitlines()[0]}") from error
        check_task_options(view.task.cfg)
        return view

    @torch.no_grad()
    def score(self, sources: Union[str, List[str]], targets: Union[str, List[str]]):
        """Log-probability (nats) of given answers under AR.

        Returns:
            for each pair fairseq's ``score`` (mean over tokens, the end symbol included), ``positional_scores``
            ``(tgt_len,)`` and ``tokens``; for a single pair its own.

        Raises:
            BangError: if there are more sources than targets or the other way round.
        """
        if isinstance(sources, str) and isinstance(targets, str):
            return self.score([sources], [targets])[0]
        if isinstance(sources, str) or isinstance(targets, str):
            raise BangError("score takes two texts or two lists of them, not a text and a list")
        if len(sources) != len(targets):
            raise BangError(f"{len(sources)} sources, but {len(targets)} targets")
        src, tgt = ([self.encode(text) for text in texts] for texts in (sources, targets))
        dataset = LanguagePairDataset(
            src, [len(s) for s in src], self.src_dict, tgt, [len(t) for t in tgt], self.tgt_dict, shuffle=False
        )
        args = copy.deepcopy(self.cfg.generation)
        args.score_reference = True
        scorer = self.task.build_generator(self.models, args)
        batches = self.task.get_batch_iterator(
            dataset,
            max_tokens=self.cfg.dataset.max_tokens,
            max_sentences=self.cfg.dataset.batch_size,
            max_positions=self.max_positions,
            disable_iterator_cache=True,
        )
        scored = {}
        for batch in batches.next_epoch_itr(shuffle=False):
            batch = utils.apply_to_sample(lambda t: t.to(self.device), batch)
            hypotheses = self.task.inference_step(scorer, self.models, batch)
            scored.update({i: h[0] for i, h in zip(batch["id"].tolist(), hypotheses)})
        return [scored[i] for i in range(len(src))]


def find_tokeniser(folder: Path):
    """The tokeniser whose file lies in a checkpoint's folder: a sentencepiece model or a BERT vocabulary.

    Raises:
        BangError: if there are several.
    """
    found = sorted(folder.glob("*.model")) + sorted(folder.glob("vocab.txt"))
    if len(found) > 1:
        raise BangError(f"{folder}: several tokenisers, {', '.join(f.name for f in found)}; leave one")
    if not found:
        return None
    if found[0].suffix == ".model":
        return SentencepieceBPE(SentencepieceConfig(sentencepiece_model=str(found[0])))
    return Wordpiece(WordpieceConfig(wordpiece_vocab=str(found[0])))


def from_pretrained(
    folder: str, checkpoint_file: Optional[str] = None, data_name_or_path: Optional[str] = None, **overrides
) -> BangHub:
    """Load a checkpoint with its dictionaries and tokeniser.

    Args:
        folder: where the checkpoint lies, and the tokeniser's file if there is one: ``*.model`` (sentencepiece)
            or ``vocab.txt`` (word pieces).
        checkpoint_file: its name, several separated by colons for an ensemble; default: the first of
            model.pt, checkpoint_best.pt and checkpoint_last.pt that is there.
        data_name_or_path: folder with the dictionaries; default: ``folder`` if they are there, else the folder
            that the model was trained on.
        overrides: of the saved configuration, for instance ``quantize="int8"``; ``cpu=True`` says that the model stays
            on the CPU of a machine with a GPU, so that its weights may be laid out for that.

    Raises:
        BangError: if something is missing or cannot be read.
    """
    table.install()
    path = Path(folder)
    if not path.is_dir():
        raise BangError(f"{folder}: no such folder")
    if checkpoint_file is None:
        there = [name for name in CHECKPOINTS if (path / name).is_file()]
        if not there:
            raise BangError(f"{folder}: none of {', '.join(CHECKPOINTS)}; name another with checkpoint_file=…")
        checkpoint_file = there[0]
    if data_name_or_path is not None:
        overrides["data"] = str(data_name_or_path)
    elif any(path.glob("dict.*.txt")):
        overrides["data"] = str(path)
    files = [str(path / name) for name in checkpoint_file.split(":")]
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task(files, arg_overrides=overrides)
    return BangHub(cfg, task, models, find_tokeniser(path) or encoders.build_bpe(cfg.bpe))
