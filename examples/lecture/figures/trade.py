"""Figures 9 and 10: quality kept against time saved, and what closes the gap between NAR and AR."""

from dataclasses import dataclass

from bang_plugin.errors import BangError

from ..forms import (
    MEASURES,
    Point,
    decoding_names,
    demo,
    main_measure,
    one_checkpoint,
    part,
    points,
    task_names,
    trials,
)
from ..registry import figure

EXAMPLES = ("translation", "package_summaries", "question_answering", "long_texts")
RECORDED = ("demo", *EXAMPLES)
FAST, KEPT = 1.5, 90  # NAR pays where it is so many times as fast and keeps so much of the quality, in percent
SCRATCH = "scratch"  # of trials/pretraining, without; others whose names begin so are without, too


def tasks_of(found) -> dict[str, dict[str, Point]]:
    """Every task with its decodings by one checkpoint."""
    return {"demo": demo(found["demo"]), **{task: one_checkpoint(found[task], task) for task in EXAMPLES}}


def worth(kept: float, alone: float, say) -> str:
    """Whether NAR pays, by the two thresholds."""
    if alone < FAST:
        return say(f"no: less than {FAST:g} times as fast", f"否：不到 {FAST:g} 倍速")
    if kept < KEPT:
        return say(f"no: keeps less than {KEPT} %", f"否：保留不到 {KEPT} %")
    return say("yes", "是")


@figure(9, *RECORDED)
def picture(found, say):
    import matplotlib.pyplot as plt

    drawn, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(1.6, 1))
    shapes, names = {}, decoding_names(say)
    for colour, (task, ours) in enumerate(tasks_of(found).items()):
        ar = ours["ar-greedy"]
        for name, marker in zip(("speculative", "adaptive-1", "semi_nar-2", "semi_nar-4", "nar", "nar-5"), "osD^v*"):
            if name in ours and ours[name].ms:
                point = (ar.ms / ours[name].ms, 100 * ours[name].good / ar.good)
                left.scatter(*point, color=f"C{colour}", marker=marker)
                shapes[names[name]] = marker
        left.scatter([], [], color=f"C{colour}", label=task_names(say)[task])
    for name, marker in shapes.items():
        left.scatter([], [], color="grey", marker=marker, label=name)
    left.axhline(100, color="grey", linewidth=1)
    left.axvline(1, color="grey", linewidth=1)
    left.legend(fontsize=8, ncols=2)
    left.set(
        xlabel=say("times as fast as greedy AR, a sentence alone", "相对贪心 AR 的加速倍数（单句）"),
        ylabel=say("quality kept (%)", "保留质量 (%)"),
    )
    parts = part(found["long_texts"], "long_texts", "report")["by_length"]
    for name in ("ar-greedy", "semi_nar-4", "nar"):
        rows = [(group["words"], group["runs"][f"all, {name}"]) for group in parts if f"all, {name}" in group["runs"]]
        if rows:
            right.plot(*zip(*rows), "o-", label=names[name])
    right.set(xlabel=say("words of the reference", "参考词数"), ylabel="ROUGE-L", title=task_names(say)["long_texts"])
    right.legend(fontsize=8)
    return drawn


@dataclass(frozen=True)
class Gain:
    """What a measure did for NAR.

    Attributes:
        before, after, ar: quality without and with it, and of greedy AR.
        more: is better.
    """

    name: str
    before: float
    after: float
    ar: float
    evidence: str
    more: bool = True

    @property
    def closed(self) -> float | None:
        """Share of the gap between NAR and AR, percent; None where NAR is as good already."""
        gap = self.ar - self.before
        return 100 * (self.after - self.before) / gap if (gap if self.more else -gap) > 0 else None


def gains_of(found, say) -> list[Gain]:
    gains, names = [], task_names(say)
    for task, ours in tasks_of(found).items():
        best = next((name for name in ("nar-5", "NAR, 8 candidates") if name in ours), None)
        file = "docs/demo.md" if task == "demo" else f"docs/results/{task}.json"
        if best:
            label = say(f"candidates, {names[task]}", f"候选，{names[task]}")
            more = MEASURES[ours["nar"].measure][1]
            gains.append(Gain(label, ours["nar"].quality, ours[best].quality, ours["ar-greedy"].quality, file, more))
        if task != "demo":
            runs = points(found[task], task)
            if "nar-distil, nar" in runs and "nar, nar" in runs:
                label = say(f"distillation, {names[task]}", f"蒸馏，{names[task]}")
                plain, distilled = runs["nar, nar"].quality, runs["nar-distil, nar"].quality
                more = MEASURES[runs["nar, nar"].measure][1]
                gains.append(Gain(label, plain, distilled, ours["ar-greedy"].quality, file, more))
    kinds = trials(found["trials pretraining"])
    base = kinds.get(SCRATCH)
    if base is None:
        raise BangError(f"docs/results/trials/pretraining: no training named {SCRATCH}, but {', '.join(kinds)}")
    measure, file = main_measure(kinds), "docs/results/trials/pretraining"
    for name, kind in kinds.items():
        before, after, ar = (base.mean("NAR", measure), kind.mean("NAR", measure), base.mean("AR, greedy", measure))
        if not name.startswith(SCRATCH) and None not in (before, after, ar):
            label = say(f"pretraining: {name}", f"预训练：{name}")
            gains.append(Gain(label, before, after, ar, file, MEASURES[measure][1]))
    return gains


@figure(10, *RECORDED, "trials pretraining")
def gaps(found, say):
    import matplotlib.pyplot as plt

    gains = gains_of(found, say)[::-1]
    drawn, axes = plt.subplots(figsize=(11, 1.2 + 0.45 * len(gains)))
    # what closes more than the whole gap is told by its numbers
    shares = [min(gain.closed or 0.0, 100.0) for gain in gains]
    axes.barh([gain.name for gain in gains], shares, color="#7fb3d8")
    none = say("no gap: ", "无差距：")
    for place, (gain, share) in enumerate(zip(gains, shares)):
        axes.annotate(
            f"{none if gain.closed is None else ''}{gain.before:.1f} → {gain.after:.1f} (AR {gain.ar:.1f})",
            (max(share, 0), place),
            va="center",
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=9,
        )
    axes.axvline(0, color="grey", linewidth=1)
    axes.set(
        xlabel=say(
            "share of the gap between NAR and greedy AR that is closed (%; at most 100 is drawn)",
            "弥补 NAR 与贪心 AR 差距的比例（%，最多画到 100）",
        )
    )
    axes.set_xlim(right=180)  # room for the numbers
    return drawn
