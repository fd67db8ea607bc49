"""Step ``score``: a table of every written test set, beside the published results."""

import json
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from pathlib import Path
from textwrap import shorten

from bang_plugin.errors import BangError
from bang_plugin.evaluation import evaluate, pool
from bang_plugin.evaluation.files import write_whole
from bang_plugin.evaluation.significance import Bootstrap
from bang_plugin.evaluation.tables import print_table
from scripts.bench.machine import describe
from scripts.published import TASKS, Task
from scripts.results import DETAILS, Run, notes, plot, tabulate, trained

from .prepare import tokeniser
from .recipe import Recipe
from .workspace import Workspace, read_lines, write_text

SAMPLES = 10  # test sentences whose outputs are shown side by side
SHOWN = 2000  # characters of a source


def score(recipe: Recipe, work: Workspace, args) -> None:
    """Print the table and write ``scores.md``, ``scores.json``, ``scores.png``, ``samples.md`` and ``details.json``.

    Raises:
        BangError: if nothing was written yet.
    """
    written = [path for folder in output_folders(recipe, work) for path in sorted(folder.glob("*.txt"))]
    if not written:
        raise BangError(f"{work.outputs}: nothing to score, run generate first")
    sources, expected = read_lines(work.raw / "test.src"), references(work, recipe.references_as_written)
    runs = [judge(recipe, path, sources, expected, args.meteor_jar) for path in written]
    names = [name for name in recipe.tables or (recipe.name,) if name in TASKS]
    tasks: list[Task | None] = [TASKS[name] for name in names] or [None]
    text = ""
    for task in tasks:
        table, remarks = print_table(tabulate(runs, task)), notes(runs, task)
        print(f"\n{remarks}", end="")
        title = f"## {task.data}\n\n" if task and len(tasks) > 1 else ""
        text += f"{title}{table}\n{remarks}\n"
    write_text(work.folder / "scores.md", text.rstrip("\n") + "\n")
    write_text(work.folder / "scores.json", json.dumps([asdict(run) for run in runs], indent=1))
    rows, first = tabulate(runs, tasks[0]), tasks[0]
    column = "overall" if first and first.overall else next(iter(first.names.values() if first else runs[0].scores))
    write_whole(work.folder / "scores.png", partial(plot, rows, column, recipe.title))
    chosen = samples(sources, expected, written)
    write_text(work.folder / "samples.md", side_by_side(recipe.name, chosen))
    told = recipe.report(work, runs) if recipe.report else None
    # what a record has beside the scores, see scripts.doc_tables
    known = {"date": date.today().isoformat(), "machine": describe(), "sentences": len(sources)}
    details = {**known, "samples": chosen, "report": told}
    write_text(work.folder / DETAILS, json.dumps(details, indent=1, ensure_ascii=False))
    print(f"\n{work.folder}/scores.md, scores.json, scores.png, samples.md, {DETAILS}")


def output_folders(recipe: Recipe, work: Workspace) -> list[Path]:
    """Folders of runs, in the order of the recipe's modes."""
    order = list(recipe.modes)
    folders = work.outputs.glob("*/") if work.outputs.exists() else []
    return sorted(folders, key=lambda folder: (order.index(folder.name.removesuffix("-distil")), folder.name))


def references(work: Workspace, as_written: bool = False) -> list[list[str]]:
    """The texts that each test sentence may be: those of ``test.refs``, else its one target.

    Unless they count as written, they go through the tokeniser, as what is judged does: word pieces
    lower-case and set punctuation apart.
    """
    several = work.raw / "test.refs"
    lines = read_lines(several if several.exists() else work.raw / "test.tgt")
    texts = [line.split("\t") for line in lines]
    if as_written:
        return texts
    splitter = tokeniser(work.pieces)
    return [[splitter.decode(splitter.encode(text)) for text in alternatives] for alternatives in texts]


def judge(recipe: Recipe, path: Path, sources: list[str], expected: list[list[str]], meteor_jar: Path | None) -> Run:
    """Scores of one written test set, and what writing it took."""
    hypotheses = read_lines(path)
    if recipe.pooled:
        hypotheses, expected = pool(sources, hypotheses, expected, recipe.judging)
    options = replace(recipe.judging, meteor_jar=meteor_jar)
    found = evaluate(hypotheses, expected, list(recipe.metrics), options, Bootstrap())
    found = {name: found[name] for names in recipe.metrics.values() for name in names if name in found}
    return Run(
        f"{path.parent.name}, {path.stem}",
        {name: score.value for name, score in found.items()},
        {name: score.interval for name, score in found.items() if score.interval},
        {name: score.signature for name, score in found.items()},
        json.loads(path.with_suffix(".json").read_text()),
        trained(path.parents[2] / "models" / path.parent.name),
    )


def samples(sources: list[str], expected: list[list[str]], written: list[Path]) -> list[dict]:
    """Sentences at equal distances in the test set, with their references and what every run wrote.

    Of a source longer than `SHOWN` characters its beginning.
    """
    texts = {f"{path.parent.name}, {path.stem}": read_lines(path) for path in written}
    count = min(SAMPLES, len(sources))
    return [
        {
            "sentence": i + 1,
            "source": shorten(sources[i], SHOWN, placeholder=" […]"),
            "references": expected[i],
            "outputs": {name: lines[i] for name, lines in texts.items()},
        }
        for i in (k * len(sources) // count for k in range(count))
    ]


def side_by_side(name: str, chosen: list[dict]) -> str:
    """Samples as Markdown, a table for each sentence."""
    parts = [f"# {name.replace('_', ' ').capitalize()}, in words\n"]
    for sample in chosen:
        rows = [("source", sample["source"]), *(("reference", text) for text in sample["references"])]
        rows += sample["outputs"].items()
        cells = [f"| {name} | {text.replace('|', chr(92) + '|')} |\n" for name, text in rows]
        parts.append(f"## Test sentence {sample['sentence']}\n\n| | |\n|---|---|\n{''.join(cells)}")
    return "\n".join(parts)
