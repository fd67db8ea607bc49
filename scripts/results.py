"""Gather runs into one table: mode, quality, latency, passes, and published results beside.

    python -m scripts.results outputs/question_generation/* --task question_generation --output results

A run is a folder that holds what ``bang evaluate --json`` wrote and a measurement (speed and passes, as the
examples' step ``generate`` and the demo write them), or one such file by itself.
Writes ``results.md`` and ``results.png``.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bang_plugin.errors import BangError
from bang_plugin.evaluation.files import write_whole
from bang_plugin.evaluation.tables import print_table
from scripts.published import TASKS, Published, Task

SPEED = {
    "ms_per_sentence": "ms per sentence, batch 1",
    "sentences_per_second": "sentences per second",
    "throughput_spread": "give or take (%)",
    "batch_size": "at batch size",
    "passes": "decoder passes",
}
TRAINED = {"minutes": "minutes of training", "updates": "updates"}
TRAINING = "training.json"  # what a training took, beside its checkpoints
DETAILS = "details.json"  # what an example's step score tells beside its scores: samples, date, machine, its report
SECOND_HAND = "published, second-hand"


@dataclass
class Run:
    """What is known of one run.

    Attributes:
        scores: percent by the name of the number.
        intervals: ends of their 95 % intervals, where they were drawn.
        signatures: how they were computed, where that is known.
        speed: the measured ones of ``SPEED``.
        training: the known ones of ``TRAINED``.
    """

    mode: str
    scores: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)

    def add_scores(self, found: dict[str, float], file: Path) -> None:
        if twice := self.scores.keys() & found:
            raise BangError(f"{file}: {', '.join(sorted(twice))} also in another file of this run")
        self.scores |= found


def is_evaluation(content) -> bool:
    return isinstance(content, dict) and isinstance(content.get("scores"), dict)


def is_measurement(content) -> bool:
    return isinstance(content, dict) and bool(SPEED.keys() & content.keys())


def read(file: Path) -> list[dict]:
    """The evaluation, or the measurements, of a JSON file; empty if it is something else.

    Raises:
        BangError: if it cannot be read as JSON.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BangError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise BangError(f"{file}: not JSON ({error})") from error
    if is_evaluation(content):
        return [content]
    return [part for part in (content if isinstance(content, list) else [content]) if is_measurement(part)]


def gather(path: Path) -> list[Run]:
    """The run in a folder or a file; several where one measurement file compares modes.

    Raises:
        BangError: if there is nothing to show or no telling which scores belong to which measurement.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    parts = [(file, part) for file in files for part in read(file)]
    if not parts:
        raise BangError(f"{path}: no scores of bang evaluate and no measurement in it")
    measurements = [(file, part) for file, part in parts if not is_evaluation(part)]
    evaluations = [(file, part) for file, part in parts if is_evaluation(part)]
    if len(measurements) > 1 and evaluations:
        raise BangError(f"{path}: {len(measurements)} measurements beside scores that belong to one of them")
    own = path.stem if path.is_file() else path.name
    runs = [Run(part.get("name", own)) for _, part in measurements] or [Run(own)]
    for run, (file, part) in zip(runs, measurements):
        run.speed = {name: part[name] for name in SPEED if part.get(name) is not None}
        run.add_scores(part.get("quality") or {}, file)
    for file, part in evaluations:
        runs[0].add_scores({name: score["value"] for name, score in part["scores"].items()}, file)
        runs[0].signatures |= {name: score["signature"] for name, score in part["scores"].items()}
    if path.is_dir():
        for run in runs:
            run.training = trained(path)
    return runs


def trained(folder: Path) -> dict[str, float]:
    """What the training in a folder took, as far as ``training.json`` tells.

    Raises:
        BangError: if that is not readable.
    """
    file = folder / TRAINING
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {name: content[name] for name in TRAINED}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BangError(f"{file}: not the record of a training ({error!r})") from error


def quality(names: Mapping[str, str], values: dict[str, float], overall: bool) -> dict:
    """Columns of scores under their labels; ``overall`` adds their mean where none is missing."""
    columns: dict = {label: values.get(name, "") for name, label in names.items()}
    if overall:
        known = all(name in values for name in names)
        columns["overall"] = sum(values[name] for name in names) / len(names) if known else ""
    return columns


def ours(run: Run, names: Mapping[str, str], overall: bool) -> dict:
    speed = {label: "" if run.speed.get(name) is None else run.speed[name] for name, label in SPEED.items()}
    return {"model": "ours", "mode": run.mode, **quality(names, run.scores, overall), **speed, "source": "measured"}


def theirs(row: Published, names: Mapping[str, str], overall: bool) -> dict:
    values = quality(names, dict(zip(names, row.values)), overall)
    speed = {label: row.speed.get(name, "") for name, label in SPEED.items()}
    source = f"{SECOND_HAND if row.second_hand else 'published'}: {row.source}" + f"; {row.note}" * bool(row.note)
    return {"model": row.model, "mode": row.mode, **values, **speed, "source": source}


def tabulate(runs: list[Run], task: Task | None) -> list[dict]:
    """Rows of the table: the runs, then what was published for the task.

    Without a task the columns are all numbers that any run has.
    """
    if any(run.training for run in runs):
        return _with_training(runs, _tabulate(runs, task))
    return _tabulate(runs, task)


def _with_training(runs: list[Run], rows: list[dict]) -> list[dict]:
    """Rows with what training took before their last column; published ones tell none."""
    known = [*(run.training for run in runs), *({} for _ in rows[len(runs) :])]
    columns = [{label: part.get(name, "") for name, label in TRAINED.items()} for part in known]
    return [
        {**{name: row[name] for name in row if name != "source"}, **part, "source": row["source"]}
        for row, part in zip(rows, columns)
    ]


def _tabulate(runs: list[Run], task: Task | None) -> list[dict]:
    if task is None:
        names = {name: name for name in dict.fromkeys(name for run in runs for name in run.scores)}
        return [ours(run, names, overall=False) for run in runs]
    rows = [ours(run, task.names, task.overall) for run in runs]
    return rows + [theirs(row, task.names, task.overall) for row in task.rows]


def notes(runs: list[Run], task: Task | None) -> str:
    """How the runs' numbers were computed, what the task asks for and which runs lack it."""
    lines = list(dict.fromkeys(line for run in runs for line in run.signatures.values()))
    if task:
        lines = [line for line in lines if line.split("|")[0] in task.names]
        lines.append(f"bang evaluate {task.options}")
        for run in runs:
            if absent := [name for name in task.names if name not in run.scores]:
                lines.append(f"{run.mode}: without {', '.join(absent)}")
    return "".join([*(f"- `{line}`\n" for line in lines), *(f"- {line}\n" for line in (task.remarks if task else ()))])


def plot(rows: list[dict], column: str, title: str, path: Path) -> None:
    """Bars of one quality column as PNG, ours with their costs; second-hand rows are hatched."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row[column] != ""][::-1]
    figure, axes = plt.subplots(figsize=(8, 1 + 0.4 * len(shown)))
    for place, row in enumerate(shown):
        measured = row["source"] == "measured"
        hatch = "//" if row["source"].startswith(SECOND_HAND) else None
        axes.barh(place, row[column], color="skyblue" if measured else "lightgrey", hatch=hatch, edgecolor="white")
        known = [f"{row[column]:.2f}", *(f"{row[label]:.4g} {label}" for label in SPEED.values() if row[label] != "")]
        axes.annotate(", ".join(known), (0, place), fontsize=8, va="center", xytext=(4, 0), textcoords="offset points")
    axes.set_yticks(range(len(shown)), [f"{row['model']}, {row['mode']}" for row in shown])
    second_hand = any(row["source"].startswith(SECOND_HAND) for row in shown)
    axes.set(xlabel=column + (" (hatched: second-hand)" if second_hand else ""), title=title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders, one per run, or JSON files")
    parser.add_argument("--task", choices=list(TASKS), help="show its numbers, with published ones beside")
    parser.add_argument("--quality", help="column to plot (default: overall, or the first one)")
    parser.add_argument("--output", type=Path, default=Path("results"), help="writes OUTPUT.md and OUTPUT.png")
    args = parser.parse_args(arguments)
    try:
        runs = [run for path in args.runs for run in gather(path)]
        task = TASKS.get(args.task)
        rows = tabulate(runs, task)
        columns = [name for name in rows[0] if name not in ("model", "mode", "source", *SPEED.values())]
        if not columns:
            raise BangError("none of these runs has a score")
        column = args.quality or ("overall" if task and task.overall else columns[0])
        if column not in columns:
            raise BangError(f"--quality {column}: there are {', '.join(columns)}")
        text = print_table(rows)
        if remarks := notes(runs, task):
            text += "\n" + remarks
            print("\n" + remarks, end="")
        write_whole(
            args.output.with_name(args.output.name + ".md"), lambda part: part.write_text(text, encoding="utf-8")
        )
        title = f"{args.task}: {task.data}" if task else "Runs"
        write_whole(args.output.with_name(args.output.name + ".png"), lambda part: plot(rows, column, title, part))
    except BangError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
