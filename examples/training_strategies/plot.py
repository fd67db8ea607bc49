"""The plot of training strategies."""

from pathlib import Path


def plot_strategies(runs, path: Path, metric: str = "word_error_rate") -> None:
    """Bars of ``runs[i].scores[metric]``; a run's ``mode`` is ``<strategy>, <decoding>``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    values = {tuple(run.mode.split(", ")): run.scores[metric] for run in runs}
    strategies = list(dict.fromkeys(strategy for strategy, _ in values))
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(strategies) + 1.5))
    for shift, decoding in ((-0.2, "ar"), (0.2, "nar")):
        chosen = [k for k, strategy in enumerate(strategies) if (strategy, decoding) in values]
        lengths = [values[strategies[k], decoding] for k in chosen]
        bars = axes.barh([k + shift for k in chosen], lengths, height=0.38, label=decoding.upper())
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    axes.set_yticks(range(len(strategies)), strategies)
    axes.invert_yaxis()
    axes.set_xlabel(metric.replace("_", " ") + " (%)")
    axes.grid(alpha=0.3, axis="x")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
