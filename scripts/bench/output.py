"""What every comparison leaves behind: tables on the screen, JSON and Markdown in a folder, a plot."""

import json
from pathlib import Path

from bang_plugin.evaluation.tables import markdown_table


class Output:
    """Collects a comparison's tables and facts.

    Args:
        folder: where ``benchmark_<name>.json``, ``.md`` and ``.png`` go.
        name: of the comparison.
        machine: from ``machine.describe``.
        settings: what the command line asked for.
    """

    def __init__(self, folder: Path, name: str, machine: dict, settings: dict):
        folder.mkdir(parents=True, exist_ok=True)
        self.base = folder / f"benchmark_{name}"
        self.record = {"machine": machine, "settings": settings, "tables": {}, "facts": {}}
        self.text = [f"# benchmark {name}", ""]
        self._say(", ".join(f"{key} {value}" for key, value in machine.items() if value is not None) + "\n")

    def table(self, title: str, rows: list[dict]) -> None:
        """Print and keep a table."""
        self.record["tables"][title] = rows
        self._say(f"## {title}\n\n{markdown_table(rows)}")

    def fact(self, name: str, value) -> None:
        """Print and keep one number or sentence."""
        self.record["facts"][name] = value
        self._say(f"{name}: {value:.3g}\n" if isinstance(value, float) else f"{name}: {value}\n")

    def _say(self, text: str) -> None:
        self.text.append(text)
        print(text)

    def save(self, draw=None) -> None:
        """Write everything; ``draw`` fills a matplotlib figure."""
        self.base.with_suffix(".json").write_text(json.dumps(self.record, indent=1) + "\n")
        self.base.with_suffix(".md").write_text("\n".join(self.text))
        written = [".json", ".md"]
        if draw is not None:
            self._plot(draw)
            written.append(".png")
        print(f"written: {self.base}{', '.join(written)}")

    def _plot(self, draw) -> None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(9, 4.5))
        draw(figure)
        figure.tight_layout()
        figure.savefig(self.base.with_suffix(".png"), dpi=120)
        plt.close(figure)
