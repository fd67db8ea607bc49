"""Time and judge decoding modes of one checkpoint side by side."""

import contextlib
import copy
import json
import logging
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Optional

from fairseq import checkpoint_utils, utils
from tqdm import tqdm

from bang_plugin.commands import tokenise
from bang_plugin.evaluation import METRICS
from bang_plugin.evaluation.files import write_whole
from bang_plugin.models.bang import BangModel
from bang_plugin.models.inference import pack_for_inference
from scripts.bench.machine import describe, synchronize


def warnings_only() -> None:
    """Keep the screen for tables: generators and fairseq log at INFO, once per sentence that is timed alone."""
    logging.getLogger().setLevel(logging.WARNING)


@dataclass
class Mode:
    """A decoding to measure: task options and generation options under their command-line names."""

    name: str
    task: dict
    generation: dict


@dataclass
class Measurement:
    """What one mode did.

    Attributes:
        ms_per_sentence: median over sentences written one at a time, milliseconds.
        spread: half the distance between the quartiles of those times, as a share of the median; sentences differ
            in length, so it is more than the clock's uncertainty.
        encoder_ms: median of the encoder's part of it.
        sentences_per_second: at ``batch_size``, the fastest of those tried; median of several times.
        throughput_spread: half the distance between the quartiles of those times, in percent of the median.
        passes: mean decoder passes of a sentence written alone.
        hypotheses: text of every test sentence, in order.
    """

    name: str
    ms_per_sentence: float
    spread: float
    encoder_ms: float
    sentences_per_second: float
    throughput_spread: float
    batch_size: int
    passes: float
    hypotheses: list
    quality: Optional[dict] = None

    def row(self) -> dict:
        return {key: value for key, value in asdict(self).items() if key != "hypotheses"}


class Workbench:
    """A checkpoint and test data, loaded once.

    Args:
        checkpoint: file that fairseq-train wrote.
        data: folder that fairseq-preprocess wrote.
        split: part of the data to write.
        sentences: write only the first so many.
        quantize: precision of the linear layers, as ``--quantize``.
        device: where to write.
    """

    def __init__(
        self,
        checkpoint: str,
        data: str,
        split: str = "test",
        sentences: Optional[int] = None,
        quantize: str = "none",
        device: str = "cpu",
    ):
        self.models, _, self.task = checkpoint_utils.load_model_ensemble_and_task(
            [checkpoint], arg_overrides={"data": data}
        )
        self.device = device
        for model in self.models:
            model.eval().to(device)
            if isinstance(model, BangModel):  # fairseq's own are compared with it
                pack_for_inference(model, quantize)
        self.options = self.task.cfg
        self.task.load_dataset(split)
        self.dataset = self.task.dataset(split)
        self.size = min(sentences or len(self.dataset), len(self.dataset))

    def generator(self, mode: Mode):
        self.task.cfg = copy.copy(self.options)  # so that no mode inherits what another one has set
        for option, value in mode.task.items():
            setattr(self.task.cfg, option, value)
        return self.task.build_generator(self.models, Namespace(**mode.generation))

    def batches(self, batch_size: int, by_length: bool = True) -> list:
        """Collated batches of similar source lengths, as fairseq-generate makes them, or in the order of the data;
        already where the models are."""
        order = list(range(self.size))
        if by_length:
            order.sort(key=lambda i: (self.dataset.src_sizes[i], i))
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        collated = [self.dataset.collater([self.dataset[i] for i in batch]) for batch in batches]
        return utils.apply_to_sample(lambda t: t.to(self.device), collated)

    def alone(self, count: int) -> Iterator[dict]:
        """About so many single sentences, spread over the split; the first comes twice, since it warms up."""
        singles = self.batches(1)
        singles = singles[:: max(1, len(singles) // count)]
        yield singles[0]
        yield from tqdm(singles, desc="one at a time", unit="sentence", leave=False)

    def write(self, generator, batches) -> dict:
        """Best hypothesis of each sentence by its index."""
        hypotheses = {}
        for batch in batches:
            results = self.task.inference_step(generator, self.models, batch)
            hypotheses.update({i: nbest[0] for i, nbest in zip(batch["id"].tolist(), results)})
        return hypotheses

    def text(self, hypothesis) -> str:
        return self.task.target_dictionary.string(hypothesis["tokens"])

    def texts(self, written: dict, sentencepiece_model: Optional[Path] = None) -> list[str]:
        """Texts in the order of the data, by a model that joins their pieces; ``written`` as ``write`` gives it."""
        join = tokenise.load(sentencepiece_model, None).decode if sentencepiece_model else str
        return [join(self.text(written[i])) for i in range(self.size)]

    def mean_passes(self, written: dict) -> float:
        """Decoder passes of a sentence."""
        return sum(int(hypothesis["passes"]) for hypothesis in written.values()) / self.size

    def passes(self) -> int:
        return self.models[0].decoder.num_passes


def add_judging_options(parser: ArgumentParser) -> None:
    """Options of scripts that judge what a checkpoint writes of a data set, and record it by `write_record`."""
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="folder that fairseq-preprocess wrote")
    parser.add_argument("--split", default="test")
    parser.add_argument("--references", type=Path, required=True, help="a line per sentence, several separated by tabs")
    parser.add_argument("--metric", choices=METRICS, default="bleu")
    parser.add_argument("--sentencepiece-model", type=Path, help="joins the pieces of the output")
    parser.add_argument("--title", default="", help="of the record, and of its plot")
    parser.add_argument("--remarks", default="", help="what else to record: how the model was trained")
    parser.add_argument("--sentences", type=int, help="only the first so many")
    parser.add_argument("--batch-size", type=int, default=64, help="for passes and quality")
    parser.add_argument("--max-len-a", type=float, default=0.0)
    parser.add_argument("--max-len-b", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="JSON")


def write_record(
    args: Namespace, script: str, started: float, sentences: int, quality: str, rows: list[dict], **more
) -> None:
    """Keep a script's rows in ``args.output``, with what tells where they come from.

    Args:
        script: its name as a module.
        started: when it began, by ``time.time``.
        quality: name of the number that the rows are compared by.
        more: what else to keep.
    """
    record = {
        "title": args.title,
        "quality": quality,
        "command": shlex.join(["python", "-m", script, *sys.argv[1:]]),
        "remarks": args.remarks,
        "seed": args.seed,
        "sentences": sentences,
        **more,
        "machine": describe(),
        "minutes": round((time.time() - started) / 60, 1),
        "rows": rows,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.output, lambda part: part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n"))


@contextlib.contextmanager
def stopwatch(module, device: str = "cpu", clock=time.perf_counter):
    """Collects the seconds that each call of ``module.forward`` takes (hooks would miss fairseq's generator,
    which calls ``forward`` itself), by ``clock``."""
    seconds, forward = [], module.forward

    def timed(*args, **kwargs):
        synchronize(device)
        start = clock()
        result = forward(*args, **kwargs)
        synchronize(device)
        seconds.append(clock() - start)
        return result

    module.forward = timed
    try:
        yield seconds
    finally:
        del module.forward


def measure(
    bench: Workbench, modes: list, batch_sizes=(32, 128, 512), alone: int = 200, repeats: int = 3
) -> list[Measurement]:
    """Measure modes on the same sentences in the same run.

    Single sentences are interleaved (sentence by sentence, every mode in turn), so that a machine
    that slows down slows all of them; so are the repetitions of each mode's best batch size.

    Args:
        batch_sizes: tried in this order for throughput on the whole split, until a mode gets slower.
        alone: number of sentences, spread over the split, that are timed one at a time.
        repeats: how often the whole split is written in the best batch size, the first time included.

    Returns:
        one Measurement per mode, without ``quality``.
    """
    singles = _write_alone(bench, modes, alone)
    speeds: list[dict] = [{} for _ in modes]
    hypotheses: list[dict] = [{} for _ in modes]
    searching = set(range(len(modes)))
    batches: dict[int, list] = {}
    for batch_size in batch_sizes:
        batches[batch_size] = bench.batches(batch_size)
        for k in tqdm(sorted(searching), desc=f"batches of {batch_size}", unit="mode", leave=False):
            hypotheses[k], speeds[k][batch_size] = _write_batches(bench, modes[k], batches[batch_size])
            if speeds[k][batch_size] < max(speeds[k].values()):
                searching.remove(k)
    sizes = [max(speed, key=speed.get) for speed in speeds]
    again = [[speed[size]] for speed, size in zip(speeds, sizes)]
    for _ in tqdm(range(repeats - 1), desc="again", leave=False):
        for k, mode in enumerate(modes):
            again[k].append(_write_batches(bench, mode, batches[sizes[k]])[1])
    measured = []
    for k, mode in enumerate(modes):
        text = [bench.text(hypotheses[k][i]) for i in range(bench.size)]
        measured.append(
            Measurement(
                name=mode.name,
                **singles[k],
                sentences_per_second=median(again[k]),
                throughput_spread=100 * spread(again[k]),
                batch_size=sizes[k],
                hypotheses=text,
            )
        )
    return measured


def _write_batches(bench: Workbench, mode: Mode, batches: list) -> tuple[dict, float]:
    """Hypotheses of the whole split, and sentences per second."""
    generator = bench.generator(mode)
    start = time.perf_counter()
    hypotheses = bench.write(generator, batches)
    synchronize(bench.device)
    return hypotheses, bench.size / (time.perf_counter() - start)


def _write_alone(bench: Workbench, modes: list, alone: int) -> list[dict]:
    """Sentences one at a time; the fields of ``Measurement`` that they give, mode by mode."""
    generators = [bench.generator(mode) for mode in modes]
    total, encoder, passes = ([[] for _ in modes] for _ in range(3))
    with stopwatch(bench.models[0].encoder, bench.device) as encoding:
        for single in bench.alone(alone):
            for k, generator in enumerate(generators):
                before, start = bench.passes(), time.perf_counter()
                bench.task.inference_step(generator, bench.models, single)
                synchronize(bench.device)
                total[k].append(1000 * (time.perf_counter() - start))
                encoder[k].append(1000 * encoding[-1])
                passes[k].append(bench.passes() - before)
    # the first sentence warmed up
    return [
        {
            "ms_per_sentence": median(total[k][1:]),
            "spread": spread(total[k][1:]),
            "encoder_ms": median(encoder[k][1:]),
            "passes": fmean(passes[k][1:]),
        }
        for k in range(len(modes))
    ]


def spread(values: list) -> float:
    """Half the distance between the quartiles, as a share of the median: 0.05 is "give or take 5 %"."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return (ordered[round(0.75 * last)] - ordered[round(0.25 * last)]) / 2 / median(ordered)
