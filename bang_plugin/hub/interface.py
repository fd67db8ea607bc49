"""BANG from Python: ``BangModel.from_pretrained(folder)`` gives fairseq's hub interface with ``decoding=…``."""

import copy
from typing import Any, Dict, List, Set, Tuple, Union

import torch
from fairseq import utils
from fairseq.dataclass.configs import GenerationConfig
from fairseq.hub_utils import GeneratorHubInterface
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from fairseq.tasks.fairseq_task import StatefulContainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..decoding.option_table import OPTIONS, TASK_OPTIONS
from ..decoding.options import set_option, with_options
from ..errors import BangError, first_line, near
from ..guards import table

# what a call cannot change, and where to say it instead
ELSEWHERE = {name: option.from_python for name, option in OPTIONS.items() if option.from_python}
ELSEWHERE["truncate_source"] = "from_pretrained"
DECODING_OPTIONS = ("decoding", *(name for name in TASK_OPTIONS if name not in ELSEWHERE))
GENERATION_OPTIONS = {*GenerationConfig.__dataclass_fields__, "inference_step_args", "prefix_allowed_tokens_fn"}


class BangHub(GeneratorHubInterface):
    """Texts in, texts or hypotheses out.

    It may be used by several threads at once: no call changes what another one sees. It can be copied, pickled and so
    given to other processes, with its models and tokeniser.
    """

    def __init__(self, cfg: Any, task: Any, models: List[Any], bpe: Any = None, tokenizer: Any = None):
        super().__init__(cfg, task, models)
        if bpe:
            self.bpe = bpe
        if tokenizer:
            self.tokenizer = tokenizer
        self.eval()

    def generate(
        self,
        texts: Any,
        beam: int = 5,
        verbose: bool = False,
        skip_invalid_size_inputs: bool = False,
        **options: Any,
    ) -> Any:
        """Write an answer to every text.

        Args:
            texts: strings, or token ids as ``encode`` gives them, ``(src_len,)`` each; or a single one.
            beam: of ``decoding="ar"`` and ``"speculative"``.
            options: of decoding (``decoding``, ``block_size``, ``tolerance``, …) and of fairseq's generation
                (``lenpen``, ``max_len_b``, …) under their command-line names; ``decoding_args`` is a dictionary.
                Every call begins ``trace_file`` anew.

        Returns:
            for each text a list of hypotheses, best first, as fairseq's generators give them (``tokens``,
            ``score``, ``positional_scores``, ``passes``, …) with their ``text``; for a single text its list.

        Raises:
            BangError: for an unknown option, a value out of range or a text that is too long.
        """
        if isinstance(texts, str) or torch.is_tensor(texts) and texts.dim() == 1:
            return self.generate([texts], beam, verbose, skip_invalid_size_inputs, **options)[0]
        tokens = self._encoded(texts)
        if not tokens:
            return []
        _check_names(options, {*DECODING_OPTIONS, *GENERATION_OPTIONS} - ELSEWHERE.keys())
        chosen = {name: options.pop(name) for name in DECODING_OPTIONS if name in options}
        probe = copy.deepcopy(self.cfg.generation)
        options["beam"] = beam
        for name in options.keys() & GenerationConfig.__dataclass_fields__.keys():
            set_option(probe, name, options[name])
        if options.get("constraints") and "constraints" not in (options.get("inference_step_args") or {}):
            raise BangError(
                "constraints says in which order; give the tokens by inference_step_args={'constraints': …}"
            )
        results = self._with_options(chosen)._generate(tokens, verbose, skip_invalid_size_inputs, options)
        if "nbest" in options:
            results = [hypotheses[: probe.nbest] for hypotheses in results]
        written = [hypothesis for hypotheses in results for hypothesis in hypotheses]
        for hypothesis, ids in zip(written, self._on_cpu([h["tokens"] for h in written])):
            hypothesis["text"] = self.decode(ids)
        return results

    def sample(self, sentences: Any, beam: int = 1, verbose: bool = False, **options: Any) -> Union[str, List[str]]:
        """The best answer's text to every text, or to a single one; arguments as for ``generate``."""
        if isinstance(sentences, str):
            return self.sample([sentences], beam, verbose, **options)[0]
        return [hypotheses[0]["text"] for hypotheses in self.generate(sentences, beam, verbose, **options)]

    @staticmethod
    def _on_cpu(sentences: List[Tensor]) -> List[Tensor]:
        """Token ids ``(len,)`` each, taken from a GPU together: one by one each would be waited for."""
        if not any(tokens.is_cuda for tokens in sentences):
            return sentences
        return list(torch.cat([tokens.cuda() for tokens in sentences]).cpu().split([len(t) for t in sentences]))

    def _encoded(self, texts: Any) -> List[Tensor]:
        """Token ids of all texts, on the CPU.

        Raises:
            BangError: for what is neither text nor ids of the source dictionary.
        """
        tokens, given = [], []
        for number, text in enumerate(texts, start=1):
            if isinstance(text, str):
                tokens.append(self.encode(text))
            elif torch.is_tensor(text) and text.dim() == 1:
                tokens.append(text)
                given.append(number)
            else:
                raise BangError(f"text {number}: a string or ids (src_len,) are needed, not {type(text).__name__}")
        tokens, known = self._on_cpu(tokens), len(self.src_dict)
        for number in given:  # what has been encoded here is known
            ids = tokens[number - 1]
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < known:
                raise BangError(f"text {number}: ids from 0 to {known - 1} are known, not {ids.tolist()}")
        return tokens

    def _generate(self, tokens: List[Tensor], verbose: bool, skip: bool, options: Dict[str, Any]) -> Any:
        return super().generate(tokens, verbose=verbose, skip_invalid_size_inputs=skip, **options)

    def prepare(self, **options: Any) -> Tuple[Any, Any, Any]:
        """What writes under these options, built once for many batches of one thread; arguments as for ``generate``.

        Returns:
            a task, its generator and fairseq's generation options, for ``task.inference_step(generator, hub.models,
            batch)``.

        Raises:
            BangError: for an unknown option or a value out of range.
        """
        _check_names(options, {*DECODING_OPTIONS, *GENERATION_OPTIONS} - ELSEWHERE.keys())
        task = self._with_options({name: options.pop(name) for name in DECODING_OPTIONS if name in options}).task
        args = copy.deepcopy(self.cfg.generation)
        for name, value in options.items():
            set_option(args, name, value)
        try:
            return task, task.build_generator(self.models, args), args
        except BangError:
            raise
        except (AssertionError, ValueError) as error:  # fairseq's ways to refuse
            raise BangError(first_line(error)) from error

    def _with_options(self, chosen: Dict[str, Any]) -> "BangHub":
        """The same models under decoding options of its own."""
        view = object.__new__(type(self))
        view.__dict__ = dict(self.__dict__)
        view.task = with_options(self.task, chosen)
        return view

    @torch.no_grad()
    def score(self, sources: Union[str, List[str]], targets: Union[str, List[str]], **options: Any) -> Any:
        """Log-probability (nats) of given answers.

        Args:
            options: of decoding, ``decoding="nar"``, ``decoding="semi_nar", block_size=4``, …: with what probability
                that mode's own chains give the answers' tokens. By default AR; speculative decoding's is AR's.

        Returns:
            for each pair fairseq's ``score`` (mean over tokens, the end symbol included), ``positional_scores``
            ``(tgt_len,)`` and ``tokens``; for a single pair its own.

        Raises:
            BangError: if there are more sources than targets or the other way round, or for an unknown option.
        """
        if isinstance(sources, str) and isinstance(targets, str):
            return self.score([sources], [targets], **options)[0]
        if isinstance(sources, str) or isinstance(targets, str):
            raise BangError("score takes two texts or two lists of them, not a text and a list")
        if len(sources) != len(targets):
            raise BangError(f"{len(sources)} sources, but {len(targets)} targets")
        if not len(sources):
            return []
        _check_names(options, set(DECODING_OPTIONS))
        task = self._with_options(options).task
        src, tgt = ([self.encode(text) for text in texts] for texts in (sources, targets))
        args = copy.deepcopy(self.cfg.generation)
        args.score_reference = True
        scorer = task.build_generator(self.models, args)
        batches = task.get_batch_iterator(
            task.build_dataset_for_inference(src, [len(s) for s in src], targets=tgt),
            max_tokens=self.cfg.dataset.max_tokens,
            max_sentences=self.cfg.dataset.batch_size,
            max_positions=self.max_positions,
            disable_iterator_cache=True,
        )
        scored = {}
        for batch in batches.next_epoch_itr(shuffle=False):
            batch = utils.apply_to_sample(lambda t: t.to(self.device), batch)
            hypotheses = task.inference_step(scorer, self.models, batch)
            scored.update({i: h[0] for i, h in zip(batch["id"].tolist(), hypotheses)})
        return [scored[i] for i in range(len(src))]

    def __getstate__(self) -> Dict[str, Any]:
        """What a copy is made of: configurations without the classes that fairseq makes up, the task without data."""
        left_out = {"state", "datasets", "dataset_to_epoch_iter"}
        task = {name: value for name, value in vars(self.task).items() if name not in left_out}
        task["cfg"] = _plain(self.task.cfg)
        return {**self.__dict__, "cfg": _plain(self.cfg), "task": (type(self.task), task)}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        table.install()  # in what may be a new process
        kind, attributes = state["task"]
        task = object.__new__(kind)
        vars(task).update(attributes, state=StatefulContainer(), datasets={}, dataset_to_epoch_iter={})
        task.cfg = _typed(TASK_DATACLASS_REGISTRY[task.cfg["_name"]], task.cfg)
        cfg = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
        cfg.generation = _typed(GenerationConfig, cfg.generation)
        super().__setstate__({**state, "cfg": cfg, "task": task})


def _plain(cfg: DictConfig) -> Any:
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)


def _typed(dataclass: type, values: Any) -> Any:
    return OmegaConf.merge(OmegaConf.structured(dataclass), values)


def _check_names(options: Dict[str, Any], known: Set[str]) -> None:
    """Check the options of a call.

    Raises:
        BangError: for an option that is not known.
    """
    for name in options:
        if name in ELSEWHERE and name not in known:
            raise BangError(f"{name} is nothing that a call could change: use {ELSEWHERE[name]}")
        if name not in known:
            raise BangError(f"unknown option {name}{near(name, known)}; decoding has {', '.join(DECODING_OPTIONS)}")
