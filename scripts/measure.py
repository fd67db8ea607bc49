"""Time and judge decoding modes of one checkpoint side by side."""

import time
from argparse import Namespace
from dataclasses import asdict, dataclass
from statistics import median
from typing import Optional

from fairseq import checkpoint_utils
from tqdm import tqdm


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
        sentences_per_second: at ``batch_size``, the fastest of those tried.
        passes: mean decoder passes of a sentence written alone.
        hypotheses: text of every test sentence, in order.
    """

    name: str
    ms_per_sentence: float
    sentences_per_second: float
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
    """

    def __init__(self, checkpoint: str, data: str, split: str = "test"):
        self.models, _, self.task = checkpoint_utils.load_model_ensemble_and_task(
            [checkpoint], arg_overrides={"data": data}
        )
        for model in self.models:
            model.eval()
        self.task.load_dataset(split)
        self.dataset = self.task.dataset(split)

    def generator(self, mode: Mode):
        for option, value in mode.task.items():
            setattr(self.task.cfg, option, value)
        return self.task.build_generator(self.models, Namespace(**mode.generation))

    def batches(self, batch_size: int, limit: Optional[int] = None) -> list:
        """Collated batches of similar source lengths."""
        order = sorted(range(limit or len(self.dataset)), key=lambda i: (self.dataset.src_sizes[i], i))
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        return [self.dataset.collater([self.dataset[i] for i in batch]) for batch in batches]

    def write(self, generator, batches) -> dict:
        """Best hypothesis of each sentence by its index."""
        hypotheses = {}
        for batch in batches:
            results = self.task.inference_step(generator, self.models, batch)
            hypotheses.update({i: nbest[0] for i, nbest in zip(batch["id"].tolist(), results)})
        return hypotheses

    def text(self, hypothesis) -> str:
        return self.task.target_dictionary.string(hypothesis["tokens"])

    def passes(self) -> int:
        return self.models[0].decoder.num_passes


def measure(bench: Workbench, modes: list, batch_sizes=(32, 128, 512), alone: int = 200) -> list[Measurement]:
    """Measure modes on the same sentences in the same run.

    Single sentences are interleaved (sentence by sentence, every mode in turn), so that a machine
    that slows down slows all of them.

    Args:
        batch_sizes: tried for throughput on the whole split; the fastest counts.
        alone: number of sentences, spread over the split, that are timed one at a time.

    Returns:
        one Measurement per mode, without ``quality``.
    """
    singles = bench.batches(1)
    singles = singles[:: max(1, len(singles) // alone)]
    milliseconds, passes = [[] for _ in modes], [[] for _ in modes]
    for single in [singles[0], *tqdm(singles, desc="one at a time", unit="sentence")]:
        for k, mode in enumerate(modes):
            generator = bench.generator(mode)
            before, start = bench.passes(), time.perf_counter()
            bench.task.inference_step(generator, bench.models, single)
            milliseconds[k].append(1000 * (time.perf_counter() - start))
            passes[k].append(bench.passes() - before)
    measured = []
    progress = tqdm(total=len(modes) * len(batch_sizes), desc="in batches", unit="run")
    speeds: list[dict] = [{} for _ in modes]
    hypotheses: list[dict] = [{} for _ in modes]
    for batch_size in batch_sizes:
        batches = bench.batches(batch_size)
        for k, mode in enumerate(modes):
            generator = bench.generator(mode)
            start = time.perf_counter()
            hypotheses[k] = bench.write(generator, batches)
            speeds[k][batch_size] = len(bench.dataset) / (time.perf_counter() - start)
            progress.update()
    progress.close()
    for k, mode in enumerate(modes):
        best = max(speeds[k], key=speeds[k].get)
        text = [bench.text(hypotheses[k][i]) for i in range(len(bench.dataset))]
        measured.append(
            Measurement(
                mode.name,
                median(milliseconds[k][1:]),  # the first one warmed up
                speeds[k][best],
                best,
                sum(passes[k][1:]) / len(passes[k][1:]),
                text,
            )
        )
    return measured
