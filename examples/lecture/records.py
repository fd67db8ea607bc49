"""The recorded runs that figures and tables are made from: where each lies, and which command makes it."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bang_plugin.errors import BangError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "results"
FRESH = "make demo && python -m examples.lecture --fresh"
STEPS = (
    "for step in prepare train generate score; do python -m examples.{name} $step; done && "
    "python -m scripts.doc_tables --record outputs/{name}"
)
SPELLING = ("CMU pronouncing dictionary", "CMU 发音词典")
DEBIAN = ("Debian's package descriptions", "Debian 软件包描述")


@dataclass(frozen=True)
class Record:
    """A recorded run, or several.

    Attributes:
        path: below docs/results; with an asterisk several files, one for each training.
        command: makes it, from nothing.
        data: what it was measured on, in English and Chinese.
        seed: of its draws, where its file does not tell.
    """

    path: str
    command: str
    data: tuple[str, str]
    seed: str = "1"


def example(name: str, *data: str) -> dict[str, Record]:
    """What an example's steps leave: its runs, samples of what they wrote, and what else it reports."""
    return {name: Record(f"{name}.json", STEPS.format(name=name), (data[0], data[1]))}


def trials(task: str, *data: str) -> dict[str, Record]:
    """Trainings that scripts/trial.py recorded."""
    command = f"python -m scripts.trial --output docs/results/trials/{task} … (docs/training.md)"
    return {f"trials {task}": Record(f"trials/{task}/*.json", command, (data[0], data[1]))}


RECORDS = {
    "demo": Record("../demo.md", "make demo && python -m scripts.doc_tables --record demo", SPELLING),
    "traces": Record("lecture/traces.json", FRESH, SPELLING),
    "discussion": Record("lecture/discussion.json", FRESH, SPELLING),
    "logs": Record("lecture/logs.json", FRESH, SPELLING),
    "dial spelling": Record("dial_spelling.json", "python -m scripts.dial measure … (docs/decoding.md)", SPELLING),
    "dial translation": Record("dial_translation.json", "python -m scripts.dial measure … (docs/decoding.md)", DEBIAN),
    "cost": Record("ar_first/cost.json", "python -m scripts.trial … (docs/training.md)", SPELLING),
    "export": Record("export.json", "python -m scripts.benchmark export demo demo/data --folder outputs", SPELLING),
    "memory": Record(
        "memory.json",
        "python -m scripts.benchmark memory && cp outputs/benchmark_memory.json docs/results/memory.json",
        ("random sources", "随机源序列"),
    ),
    **trials("spelling", *SPELLING),
    **trials("translation", *DEBIAN),
    **trials("pretraining", *DEBIAN),
    **example("translation", "English to German, Debian's package descriptions", "英译德，Debian 软件包描述"),
    **example("package_summaries", "Debian's package descriptions and synopses", "Debian 软件包描述与摘要"),
    **example("question_answering", "questions on Debian's package descriptions", "关于 Debian 软件包描述的问题"),
    **example("long_texts", "Debian's package descriptions, 60 tokens and more", "Debian 软件包描述，60 词以上"),
    **example("classification", "docstrings of installed packages", "已安装软件包的文档字符串"),
    **example("long_documents", "made documents of 4,096 tokens", "生成的 4,096 词文档"),
    **example("training_strategies", *SPELLING),
}


def files(name: str) -> list[Path]:
    """Those of a record that are there."""
    path = RECORDS[name].path
    if "*" in path:
        return sorted(FOLDER.glob(path))
    return [FOLDER / path] if (FOLDER / path).is_file() else []


def read(name: str) -> Any:
    """The content of a record: of a Markdown table its rows, of several files a list.

    Raises:
        BangError: if it is missing, with the command that makes it, or not readable.
    """
    found = files(name)
    if not found:
        raise BangError(f"{shown(FOLDER / RECORDS[name].path)} is missing: {RECORDS[name].command}")
    contents = [markdown_rows(file) if file.suffix == ".md" else _json(file) for file in found]
    return contents if "*" in RECORDS[name].path else contents[0]


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BangError(f"{file}: not JSON ({error})") from error


def markdown_rows(file: Path) -> list[dict[str, Any]]:
    """Rows of the one table in a file; what looks like a number is one."""

    def cell(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    header, _, *rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    return [dict(zip(header, map(cell, row), strict=True)) for row in rows]


def shown(path: Path) -> str:
    """A path from the repository's root, if it lies below it."""
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


class Found(Mapping):
    """The declared records by name, read when they are asked for."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(f"{name} is not declared in the registry")
        return read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def missing(names: tuple[str, ...]) -> list[str]:
    """Those that nobody has recorded."""
    return [name for name in names if not files(name)]


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a figure come from: a record's file, or a file of code."""

    path: str
    command: str
    data: tuple[str, str]
    seed: str
    date: str


def origins(names: tuple[str, ...], code: tuple[str, ...]) -> list[Origin]:
    """Of every record and every file of code that a figure or table is drawn from."""
    found = [origin(name) for name in names]
    command, nothing = "python -m examples.lecture", ("the code itself", "代码本身")
    return found + [Origin(path, command, nothing, "—", date(ROOT / path)) for path in code]


def origin(name: str) -> Origin:
    """Command, data, seed and date, as its files tell them, and the table above where they do not."""
    record, found = RECORDS[name], files(name)
    contents = [_json(file) for file in found if file.suffix == ".json"]
    told = [content for content in contents if isinstance(content, dict)]
    commands = list(dict.fromkeys(content["command"] for content in told if isinstance(content.get("command"), str)))
    trained = [*told, *(run for content in told for run in content.get("trainings", {}).values())]
    seeds = sorted({str(run["seed"]) for run in trained if run.get("seed") is not None})
    dates = [content["date"] for content in told if "date" in content] or [date(file) for file in found]
    command = commands[0] if len(commands) == 1 else record.command
    return Origin(shown(FOLDER / record.path), command, record.data, ", ".join(seeds) or record.seed, max(dates))


def date(file: Path) -> str:
    """Day on which a file was committed; where there is no history, when it was written."""
    log = ["git", "-C", str(file.parent), "log", "-1", "--format=%cs", "--", file.name]
    try:
        day = subprocess.run(log, capture_output=True, text=True).stdout.strip()
    except OSError:
        day = ""
    return day or datetime.fromtimestamp(file.stat().st_mtime).date().isoformat()
