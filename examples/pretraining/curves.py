"""Learning curves from fairseq's logs."""

import json
from pathlib import Path

from examples.workspace import numbers

STREAMS = {"ar": "-", "nar": "--"}


def validations(log: Path) -> list[dict]:
    """What fairseq-train logged at each validation: numbers by name, ``valid_num_updates`` among them.

    A run that was interrupted and went on may have logged an update twice; the later line counts.
    """
    found = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and '"valid_num_updates"' in line:
            row = numbers(json.loads(line))
            found[row["valid_num_updates"]] = row
    return [found[update] for update in sorted(found)]


def plot(logs: dict[str, Path], path: Path) -> None:
    """Validation loss of AR and NAR over updates, a colour per run, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for k, (run, log) in enumerate(logs.items()):
        rows = validations(log)
        for stream, style in STREAMS.items():
            updates = [row["valid_num_updates"] for row in rows]
            axes.plot(updates, [row[f"valid_{stream}_nll"] for row in rows], f"C{k}{style}", label=f"{run}, {stream}")
    axes.set(xlabel="updates of fine-tuning", ylabel="validation loss (bits per token)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
