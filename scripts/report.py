"""Plots of results."""

from pathlib import Path


def plot_quality_speed(rows: list[dict], path: Path, quality: str, speed: str, title: str) -> None:
    """Scatter ``rows[i][quality]`` over ``rows[i][speed]`` (log scale), one labelled point per row, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import ScalarFormatter

    figure, axes = plt.subplots(figsize=(8, 5))
    families = list(dict.fromkeys(row["decoding"].split(",")[0] for row in rows))
    for k, family in enumerate(families):
        chosen = [row for row in rows if row["decoding"].split(",")[0] == family]
        chosen.sort(key=lambda row: row[speed])
        style = {"color": f"C{k}", "marker": "o", "linestyle": "-" if len(chosen) > 2 else "none"}
        axes.plot([row[speed] for row in chosen], [row[quality] for row in chosen], label=family, **style)
        for row in chosen:
            label = row["decoding"].partition(", ")[2]
            axes.annotate(label, (row[speed], row[quality]), fontsize=8, xytext=(4, 4), textcoords="offset points")
    axes.set(xscale="log", xlabel=speed, ylabel=quality, title=title)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(ScalarFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
