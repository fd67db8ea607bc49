"""The forms in which runs are recorded, read as one: a task's decodings with quality, passes and times."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bang_plugin.errors import BangError

# how each number is called on a slide, and whether more of it is better
MEASURES = {
    "bleu_4": ("BLEU", True),
    "rouge155_l": ("ROUGE-L", True),
    "rouge_l": ("ROUGE-L", True),
    "f1": ("F1", True),
    "em": ("EM", True),
    "exact_match": ("exact match", True),
    "word_error_rate": ("word error rate", False),
}
# what a task is judged by, for the tables that show one number
JUDGED = {
    "translation": "bleu_4",
    "package_summaries": "rouge155_l",
    "question_answering": "f1",
    "long_texts": "rouge_l",
    "classification": "exact_match",
    "long_documents": "exact_match",
    "training_strategies": "word_error_rate",
}
DECODINGS = ("ar", "lookahead", "ar-greedy", "speculative", "adaptive-1", "semi_nar-2", "semi_nar-4", "nar", "nar-5")


@dataclass(frozen=True)
class Point:
    """One decoding of a task; None where nothing was measured.

    Attributes:
        quality: by ``measure``, in percent.
        passes, ms, per_second: decoder passes and milliseconds of a sentence alone, sentences per second in batches.
    """

    name: str
    measure: str
    quality: float
    passes: float | None
    ms: float | None
    per_second: float | None

    @property
    def good(self) -> float:
        """Quality where more is better: of an error rate what it leaves of 100."""
        return self.quality if MEASURES[self.measure][1] else 100 - self.quality


def task_names(say: Callable[[str, str], str]) -> dict[str, str]:
    """What each task is called on a slide."""
    return {
        "demo": say("spelling to phonemes", "拼写转音素"),
        "translation": say("translation, English to German", "英译德"),
        "package_summaries": say("summaries of packages", "软件包摘要"),
        "question_answering": say("question answering", "问答"),
        "long_texts": say("longer texts", "较长文本"),
        "classification": say("classification", "文本分类"),
        "long_documents": say("long documents", "长文档"),
    }


def decoding_names(say: Callable[[str, str], str]) -> dict[str, str]:
    """What each decoding of an example is called on a slide."""
    return {
        "ar": say("AR, beam 4", "AR，4 束"),
        "lookahead": say("look-ahead, beam 4", "前瞻，4 束"),
        "ar-greedy": say("AR, greedy", "AR 贪心"),
        "speculative": say("speculative, K=4", "推测，K=4"),
        "adaptive-1": say("adaptive, t=1", "自适应，t=1"),
        "semi_nar-2": "semi-NAR, K=2",
        "semi_nar-4": "semi-NAR, K=4",
        "nar": "NAR",
        "nar-5": say("NAR, 5 candidates", "NAR，5 候选"),
    }


def part(content: dict, task: str, name: str) -> Any:
    """What an example's record has beside its runs: ``samples`` or ``report``.

    Raises:
        BangError: if it was recorded without.
    """
    if not content.get(name):
        steps = f"python -m examples.{task} score && python -m scripts.doc_tables --record outputs/{task}"
        raise BangError(f"docs/results/{task}.json has no {name}: {steps}")
    return content[name]


def points(content: dict, task: str) -> dict[str, Point]:
    """The runs of an example's record by their names, ``mode, decoding``.

    Raises:
        BangError: if one lacks the number that the task is judged by.
    """
    measure, found = JUDGED[task], {}
    for run in content["runs"]:
        if measure not in run["scores"]:
            raise BangError(f"docs/results/{task}.json: {run['mode']} has no {measure}, but {', '.join(run['scores'])}")
        speed = run.get("speed", {})
        costs = (speed.get(name) for name in ("passes", "ms_per_sentence", "sentences_per_second"))
        found[run["mode"]] = Point(run["mode"], measure, run["scores"][measure], *costs)
    return found


def one_checkpoint(content: dict, task: str) -> dict[str, Point]:
    """Decodings of the one checkpoint, by decoding: of mode ``all``, distilled for NAR where there is no other.

    Raises:
        BangError: if the record has no such run.
    """
    found = points(content, task)
    for mode in ("all", "all-distil"):
        own = {name.split(", ")[1]: point for name, point in found.items() if name.split(", ")[0] == mode}
        if "nar" in own and "ar-greedy" in own:
            return own
    raise BangError(f"docs/results/{task}.json: no runs 'all, ar-greedy' and 'all, nar' in it")


def demo(content: list[dict]) -> dict[str, Point]:
    """The demo's decodings, by the names of the examples' where there is one."""
    names = {
        "AR, beam 4": "ar",
        "speculative, beam 4": "lookahead",
        "AR, greedy": "ar-greedy",
        "speculative, K=4": "speculative",
        "adaptive, t=1": "adaptive-1",
        "semi-NAR, K=2": "semi_nar-2",
        "semi-NAR, K=4": "semi_nar-4",
    }
    found = {}
    for row in content:
        name = names.get(row["decoding"], row["decoding"])
        name = "nar" if name == "NAR" else name
        costs = (row["decoder passes"], row["ms per word, batch 1"], row["words per second"])
        found[name] = Point(name, "word_error_rate", row["word error rate (%)"], *costs)
    return found


def dial(content: dict) -> list[Point]:
    """Rows of scripts/dial.py."""
    measure = content["quality"]
    return [Point(row["decoding"], measure, row[measure], row["passes"], row["ms"], None) for row in content["rows"]]


@dataclass(frozen=True)
class Trial:
    """Trainings of one kind, over their seeds.

    Attributes:
        scores: of every decoding and number the values of all seeds.
    """

    name: str
    seeds: list[int]
    minutes: float
    scores: dict[str, dict[str, list[float]]]

    def mean(self, decoding: str, measure: str) -> float | None:
        """Over seeds; None if this decoding was not tried."""
        values = self.scores.get(decoding, {}).get(measure)
        return fmean(values) if values else None

    def shown(self, decoding: str, measure: str) -> str:
        """Mean ± half the range over seeds."""
        values = self.scores.get(decoding, {}).get(measure)
        if not values:
            return ""
        spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
        return f"{fmean(values):.1f}{spread}"


def trials(contents: list[dict[str, Any]]) -> dict[str, Trial]:
    """Recorded trainings by their kind."""
    kinds: dict[str, list[dict]] = {}
    for content in contents:
        if "scores" in content:
            kinds.setdefault(content["name"], []).append(content)
    found = {}
    for name, runs in kinds.items():
        scores: dict[str, dict[str, list[float]]] = {}
        for run in runs:
            for decoding, numbers in run["scores"].items():
                for measure, value in numbers.items():
                    scores.setdefault(decoding, {}).setdefault(measure, []).append(value)
        found[name] = Trial(name, [run["seed"] for run in runs], fmean(run["minutes"] for run in runs), scores)
    return found


def main_measure(kinds: dict[str, Trial]) -> str:
    """The number that trials of a task are compared by: their last one that `MEASURES` knows."""
    numbers = {measure for kind in kinds.values() for scores in kind.scores.values() for measure in scores}
    return next(measure for measure in MEASURES if measure in numbers)


def measure_name(measure: str, say: Callable[[str, str], str]) -> str:
    """A number's name with what it is better for."""
    name, more = MEASURES[measure]
    return f"{name} ({say('more is better', '越高越好') if more else say('less is better', '越低越好')})"
