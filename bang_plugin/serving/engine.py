"""Decodes batches of jobs; one thread at a time uses the models."""

import json
import logging
import re
import threading
import time
from collections import OrderedDict
from typing import Any, Dict, List, Optional

import torch
from fairseq import utils
from torch import Tensor

from ..decoding import registry
from ..decoding.observers import Observer, PassEvent, subscribe
from ..decoding.option_table import OPTIONS
from ..decoding.stats import trace_records
from ..errors import BangError
from ..hub import BangHub
from .jobs import Abandoned, Answer, Job, Piece, Plan, Refused, refusal
from .metrics import Metrics
from .schema import NAMES, in_fields, servable

logger = logging.getLogger(__name__)

# plans that are kept, each with a generator that knows what has been fast
_PLANS = 64
# characters of a token, on average, beyond which a text cannot be meant
LONGEST = 100


class Engine:
    """A model and what it writes with.

    Args:
        hub: the model, its dictionaries and tokeniser.
        metrics: told of every batch.
    """

    def __init__(self, hub: BangHub, metrics: Metrics):
        self.hub, self.metrics = hub, metrics
        self.options, self.scoring_options = servable(hub), servable(hub, scoring=True)
        self.max_source, self.max_target = (int(limit) for limit in hub.max_positions)
        self.eos, self.truncate = hub.tgt_dict.eos(), bool(hub.task.cfg.truncate_source)
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    # in the event loop's thread

    def plan(self, options: Dict[str, Any], scoring: bool = False) -> Plan:
        """How to write or score under these options of the table.

        Raises:
            Refused: for options that do not go together, or that the decoding has no meaning for.
        """
        key = json.dumps([scoring, options], sort_keys=True)
        if key not in self._plans:
            try:
                self._plans[key] = self._made(key, options, scoring)
            except BangError as error:
                raise self._named(error) from error
            while len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]

    def _made(self, key: str, options: Dict[str, Any], scoring: bool) -> Plan:
        decoding = str(options.get("decoding", self.hub.task.cfg.decoding))
        if scoring:
            self.hub.score([], [], **options)
            return Plan(key, decoding, options)
        task, generator, args = self.hub.prepare(**options)
        search = not hasattr(generator, "mode")  # fairseq's, which has beams
        n = options.get("nbest", 1)
        return Plan(
            key,
            decoding,
            options,
            width=args.beam if search else max(task.cfg.nar_candidates, n) if decoding == "nar" else 1,
            task=task,
            generator=generator,
            max_len_a=args.max_len_a,
            max_len_b=args.max_len_b,
            min_len=args.min_len,
            same_length=search and bool(args.max_len_a or args.match_source_len),
            sampling=bool(args.sampling),
        )

    def _named(self, error: BangError) -> Refused:
        """In the words of a request: fields instead of options."""
        message = in_fields(str(error))
        named = [name for name in re.findall(r"\w+", message) if name in OPTIONS or name in NAMES.values()]
        return Refused(422, message, "invalid_value", named[0] if named else None)

    def encode(self, text: str, side: str = "prompt") -> Tensor:
        """Token ids of a text.

        Raises:
            Refused: for a text that is too long for the model; one that is far too long is not even looked at.
        """
        limit, cut = self.max_source if side == "prompt" else self.max_target, False
        if side == "prompt" and self.truncate:
            cut, text = True, text[: LONGEST * limit]
        if len(text) > LONGEST * limit:
            raise Refused(422, f"{side}: {len(text)} characters are more than {limit} tokens", "too_long", side)
        pieces = self.hub.apply_bpe(self.hub.tokenize(text)).split()
        if cut:
            pieces = pieces[: limit - 1]
        if len(pieces) + 1 > limit:
            message = f"{side}: {len(pieces) + 1} tokens, with the end symbol, are more than {limit}"
            raise Refused(422, message, "too_long", side)
        ids: Tensor = self.hub.binarize(" ".join(pieces))
        return ids

    def limit(self, plan: Plan, source: Tensor) -> int:
        """Most tokens of an answer.

        Raises:
            Refused: if that is less than its least.
        """
        most = min(int(plan.max_len_a * len(source) + plan.max_len_b), self.max_target - 1)
        if plan.options.get("match_source_len"):
            most = len(source)
        if plan.min_len > most:
            raise Refused(422, f"min_len {plan.min_len} is more than {most} tokens", "invalid_value", "min_len")
        return most

    def close(self) -> None:
        """Let go of the generators, which then log their totals."""
        self._plans.clear()

    # in the decoding thread

    def run(self, jobs: List[Job]) -> None:
        """Decode jobs of equal keys, and tell each what came of it; whatever happens, the thread goes on."""
        began = time.monotonic()
        for job in jobs:
            self.metrics.queue_seconds.observe(began - job.arrived)
        try:
            answers = self._score(jobs) if jobs[0].pair else self._write(jobs)
        except Abandoned:
            self.metrics.batches.labels("abandoned").inc()
            answers = [None] * len(jobs)
        except Exception as error:  # whatever a batch does to us ends with it
            if not isinstance(error, BangError):
                logger.exception("a batch of %d failed", len(jobs))
            self.metrics.batches.labels("failed").inc()
            for job in jobs:
                job.tell(self._named(error) if isinstance(error, BangError) else refusal(error))
            return
        else:
            self.metrics.batch(jobs, [found[0] for found in answers if found], time.monotonic() - began)
        for job, found in zip(jobs, answers):
            if found is not None:
                job.tell(found)

    def _write(self, jobs: List[Job]) -> List[Optional[List[Answer]]]:
        plan = jobs[0].plan
        if plan.sampling:
            seed = jobs[0].seed
            torch.manual_seed(seed) if seed is not None else torch.seed()
        sources = [job.source for job in jobs]
        data = plan.task.build_dataset_for_inference(sources, [len(source) for source in sources])
        batch = data.collater([data[i] for i in range(len(jobs))])
        batch = utils.apply_to_sample(lambda t: t.to(self.hub.device), batch)
        order = batch["id"].tolist()
        in_order = [jobs[i] for i in order]
        with subscribe(_Watcher(self.hub, in_order)) as watcher:
            hypotheses = plan.task.inference_step(plan.generator, self.hub.models, batch)
        found: List[Optional[List[Answer]]] = [None] * len(jobs)
        for place, job, told, results in zip(order, in_order, watcher.told, hypotheses):
            answers = [self._answer(result, job.limit) for result in results[: job.n]]
            if job.watched and answers:
                self._tell_rest(job, answers[0], told)
            found[place] = answers
        return found

    def _answer(self, result: Dict[str, Any], limit: int) -> Answer:
        ids, scores = result["tokens"].tolist(), result["positional_scores"].tolist()
        # of the shared loop's hypotheses, which have a trace, repeats may have been dropped
        length = int(result["kept"]) if "trace" in result else len(ids)
        return Answer(
            ids=ids,
            tokens=[self.hub.tgt_dict[token] for token in ids if token != self.eos],
            scores=scores,
            score=float(result["score"]),
            text=self.hub.decode(result["tokens"].cpu()),
            passes=int(result.get("passes", 0)),
            proposed=int(result.get("proposed", 0)),
            kept=int(result.get("kept", len(ids))),
            full=length > limit,
        )

    def _tell_rest(self, job: Job, answer: Answer, told: "_Told") -> None:
        """What no pass has told: of a search, tokens behind the last that all hypotheses had in common."""
        record = None
        if job.traced and job.n == 1 and not told.whole and len(told.ids) < len(answer.ids):
            n = len(told.ids)
            shown = [self.hub.tgt_dict[token] for token in answer.ids[n:]]
            probabilities = torch.tensor(answer.scores[n:]).exp().tolist()
            record = {"pass": answer.passes, "tokens": shown, "probabilities": probabilities, "kept": len(shown)}
        rest = answer.text.removeprefix(told.text) if answer.text.startswith(told.text) else ""
        if rest or record:
            job.tell(Piece(rest, record))

    def _score(self, jobs: List[Job]) -> List[Optional[List[Answer]]]:
        pairs = [job.pair for job in jobs if job.pair]
        scored = self.hub.score([pair[0] for pair in pairs], [pair[1] for pair in pairs], **jobs[0].plan.options)
        found: List[Optional[List[Answer]]] = []
        for (_, text), result in zip(pairs, scored):
            ids, scores = result["tokens"].tolist(), result["positional_scores"].tolist()
            tokens = [self.hub.tgt_dict[token] for token in ids]
            found.append([Answer(ids, tokens, scores, float(result["score"]), text)])
        return found

    def describe(self) -> Dict[str, Any]:
        """What a page needs to build its controls: the decodings, and their options with defaults and bounds."""
        return {
            "decodings": [
                {
                    "name": decoding.name,
                    "help": in_fields(decoding.help),
                    "options": [o.field for o in self.options if decoding.understands(o.name)],
                    "scores": bool(decoding.likelihood),
                }
                for decoding in registry.decodings()
            ],
            "options": {
                option.field: {
                    "type": getattr(option.kind, "__name__", "string").replace("Literal", "str").lower(),
                    "default": option.default,
                    "minimum": option.least,
                    "maximum": option.most,
                    "help": option.help,
                }
                for option in self.options
            },
            "max_prompt_tokens": self.max_source,
            "max_tokens": self.max_target - 1,
        }


class _Told:
    """What passes have told of a job so far."""

    def __init__(self) -> None:
        self.ids: List[int] = []
        self.text, self.whole = "", False


class _Watcher(Observer):
    """Tells streamed jobs of passes, and gives a batch up that nobody waits for.

    Args:
        hub: turns tokens into text.
        jobs: in the order of the batch.
    """

    def __init__(self, hub: BangHub, jobs: List[Job]):
        self.hub, self.jobs = hub, jobs
        self.thread, self.eos = threading.get_ident(), hub.tgt_dict.eos()
        self.told = [_Told() for _ in jobs]
        self.tokens = any(job.watched for job in jobs)
        # of every token itself and three others
        self.alternatives = 4 if any(job.traced for job in jobs) else 0

    def on_pass(self, event: PassEvent) -> None:
        """See ``Observer``."""
        if threading.get_ident() != self.thread:  # of another model in this process
            return
        now = time.monotonic()
        if not any(job.waited_for(now) for job in self.jobs):
            raise Abandoned
        if not self.tokens:
            return
        records, tokens = trace_records(event) if self.alternatives else {}, event.tokens.tolist()
        for place, row in enumerate(event.rows.tolist()):
            job = self.jobs[row]
            if job.watched and not job.abandoned and job.n == 1 and event.proposed[place]:
                self._tell(job, self.told[row], tokens[place][: event.kept[place]], records.get(row))

    def _tell(self, job: Job, told: _Told, tokens: List[int], record: Optional[Dict[str, Any]]) -> None:
        told.ids += tokens
        text = ""
        if not self.jobs[0].plan.task.cfg.collapse_repeats:  # which may take back what has been written
            whole: str = self.hub.decode(torch.tensor(told.ids))
            if whole.startswith(told.text):  # a tokeniser may change its mind about what stands before
                text, told.text = whole[len(told.text) :], whole
        told.whole = bool(told.ids) and told.ids[-1] == self.eos
        if text or job.traced:
            job.tell(Piece(text, record))
