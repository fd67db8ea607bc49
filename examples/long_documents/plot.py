"""Plots of long documents."""

from pathlib import Path


def _figure():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot_depths(places: list[int], right: dict[str, list[bool]], path: Path, bins: int = 8) -> None:
    """Share of facts found (percent), by the token at which they begin, a line per system."""
    plt = _figure()
    width = (max(places) + 1) / bins
    figure, axes = plt.subplots(figsize=(7, 4))
    for k, (name, found) in enumerate(right.items()):
        size = 1.5 * (len(right) - k)  # later lines are thinner, so that they do not hide equal ones
        groups = [[ok for place, ok in zip(places, found) if int(place / width) == b] for b in range(bins)]
        filled = [b for b, group in enumerate(groups) if group]
        axes.plot(
            [(b + 0.5) * width for b in filled],
            [100 * sum(groups[b]) / len(groups[b]) for b in filled],
            marker="o",
            linewidth=size,
            markersize=size + 3,
            label=name,
        )
    axes.set(xlabel="token at which the fact begins", ylabel="found (%)", ylim=(-3, 103))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_costs(rows: list[dict], path: Path) -> None:
    """Seconds and memory of a training step against source length, a line per encoder."""
    plt = _figure()
    figure, panels = plt.subplots(1, 2, figsize=(9, 4))
    for axes, column in zip(panels, ("seconds", "memory (MB)")):
        for encoder in dict.fromkeys(row["encoder"] for row in rows):
            chosen = [row for row in rows if row["encoder"] == encoder]
            axes.plot([row["length"] for row in chosen], [row[column] for row in chosen], marker="o", label=encoder)
        axes.set(xlabel="source tokens", ylabel=f"{column} of a training step", xscale="log", yscale="log")
        lengths = sorted({row["length"] for row in rows})
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.minorticks_off()
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
