"""What README.md and docs/ show: generated tables are up to date, the quick start runs as it stands, examples parse."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fairseq import options

from bang_plugin.errors import BangError
from scripts import doc_tables

from .command_line import PLUGIN

ROOT = Path(PLUGIN).parent
README = (ROOT / "README.md").read_text()
[QUICK_START] = re.findall(r"^```bash\n(.*?)^```$", README, re.S | re.M)
[FROM_PYTHON] = re.findall(r"^```python\n(.*?)^```$", README, re.S | re.M)
PARSERS = {
    "train": options.get_training_parser,
    "generate": options.get_generation_parser,
    "preprocess": options.get_preprocessing_parser,
}


def test_tables_are_generated():
    stale = [path.name for path, text in doc_tables.updated().items() if path.read_text() != text]
    assert not stale, "run: python -m scripts.doc_tables"


def test_a_table_of_options_has_every_option():
    """Of one that was added and one that is fairseq's own."""
    from bang_plugin.tasks.bang import BangConfig

    table = doc_tables.options(BangConfig)
    assert "| `--block-size` | `4` |" in table and "--truncate-source" not in table
    assert len(table.splitlines()) == 2 + len(BangConfig.__annotations__)


def test_record_of_a_demo(tmp_path, monkeypatch):
    """A new run's table and plot take the place of the old ones, in README.md too."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.md").write_text("| decoding |\n|---|\n| mine |\n")
    (run / "results.png").write_bytes(b"plot")
    monkeypatch.setattr(doc_tables, "ROOT", tmp_path)
    monkeypatch.setattr(doc_tables, "RECORD", tmp_path / "docs" / "demo.md")
    monkeypatch.setattr(sys, "argv", ["doc_tables", "--record", str(run)])
    doc_tables.main()
    for file in ("README.md", "docs/results.md", "docs/demo.md"):
        text = (tmp_path / file).read_text()
        assert "| mine |" in text and "| NAR  " not in text, file
    assert (tmp_path / "docs" / "demo.png").read_bytes() == b"plot"


def test_record_of_an_example(tmp_path, monkeypatch):
    """Scores with half of their intervals, and what training took; ten test sentences beside the example's README."""
    for folder in ("docs/results", "examples/translation", "translation/models/all"):
        (tmp_path / folder).mkdir(parents=True)
    run = {"mode": "all, nar", "scores": {"bleu_4": 12.34}, "intervals": {"bleu_4": [11.0, 13.0]}, "signatures": {}}
    run |= {"speed": {"passes": 1.5}, "training": {"minutes": 20.0, "updates": 2000}}
    (tmp_path / "translation" / "scores.json").write_text(json.dumps([run]))
    (tmp_path / "translation" / "samples.md").write_text("in words")
    (tmp_path / "translation" / "models" / "all" / "training.json").write_text(
        json.dumps({"command": f"fairseq-train {tmp_path}/translation/bin"})
    )
    monkeypatch.setattr(doc_tables, "ROOT", tmp_path)
    monkeypatch.setattr(doc_tables, "RESULTS", tmp_path / "docs" / "results")
    doc_tables.record(tmp_path / "translation")
    assert "| all, nar | 12.3 ± 1.0 |  |  |  |  | 1.50 | 20.00 | 2000 |" in doc_tables.results("translation")
    kept = json.loads((tmp_path / "docs" / "results" / "translation.json").read_text())
    assert kept["trainings"] == {"all": {"command": "fairseq-train outputs/translation/bin"}} and "samples" not in kept
    (tmp_path / "translation" / "details.json").write_text('{"date": "2026-12-01", "samples": ["ä"]}')
    doc_tables.record(tmp_path / "translation")
    assert json.loads((tmp_path / "docs" / "results" / "translation.json").read_text())["samples"] == ["ä"]
    assert (tmp_path / "examples" / "translation" / "samples.md").read_text() == "in words"
    with pytest.raises(BangError, match="--record .*docs: neither results.md"):
        doc_tables.record(tmp_path / "docs")


def commands(block: str) -> list[list[str]]:
    """fairseq's commands of a block, each as its words."""
    joined = block.replace("\\\n", " ")
    found = [shlex.split(line.rpartition("| ")[2]) for line in joined.splitlines() if "fairseq-" in line]
    return [words for words in found if words[0].startswith("fairseq-")]


@pytest.mark.parametrize("words", commands(QUICK_START), ids=lambda words: words[0])
def test_quick_start_parses(words):
    """The options of each command, read as it would read them."""
    name = words[0].removeprefix("fairseq-")
    words = [PLUGIN if word == "bang_plugin" else word for word in words[1:]]
    if name == "interactive":
        parser = options.get_interactive_generation_parser(default_task="bang")
    else:
        parser = PARSERS[name](default_task="bang")
    args = options.parse_args_and_arch(parser, words) if name != "preprocess" else parser.parse_args(words)
    assert args.task == "bang"


def test_quick_start_has_all_commands():
    assert [words[0] for words in commands(QUICK_START)] == [
        *("fairseq-preprocess", "fairseq-train", "fairseq-generate", "fairseq-interactive")
    ]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Environment of a shell with the package installed, as pip installs it, beside fairseq, and no clone about."""
    folder = tmp_path_factory.mktemp("installed")
    source, site = folder / "source", folder / "site"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(PLUGIN, source / "bang_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, cwd=folder)
    for name in ("fairseq", "fairseq_cli"):
        # its files are links, but not its folders: fairseq looks for --user-dir beside its own
        shutil.copytree(Path(options.__file__).parents[1] / name, site / name, copy_function=os.symlink)
    path = os.pathsep.join([str(site / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PYTHONPATH": str(site), "PATH": path}


def test_installed_command_tokenises(installed, tmp_path):
    """The quick start's first lines, by the installed command."""
    data, _, rest = QUICK_START.partition("bang tokenise train")
    block = data + "bang tokenise train" + rest.partition("\n")[0]
    subprocess.run(["bash", "-ec", block + " && ls"], check=True, cwd=tmp_path, env=installed)
    assert len((tmp_path / "train.src").read_text().splitlines()) == 5000
    assert (tmp_path / "model" / "spm.model").exists()
    where = "import importlib.util as u; print(*(u.find_spec(name).origin for name in ('bang_plugin', 'fairseq')))"
    found = subprocess.run([sys.executable, "-c", where], env=installed, cwd=tmp_path, capture_output=True, text=True)
    assert str(ROOT) not in found.stdout.split()[0] and found.stdout.count(installed["PYTHONPATH"]) == 2, found


def test_installed_command_draws(installed, tmp_path):
    """The page's parts are installed with it."""
    step = {"pass": 1, "tokens": ["B", "</s>"], "probabilities": [0.9, 0.8], "kept": 2}
    (tmp_path / "t").write_text(json.dumps({"id": 0, "score": -0.1, "passes": 1, "trace": [step]}))
    subprocess.run(["bang", "trace", "t", "-o", "t.html"], check=True, cwd=tmp_path, env=installed)
    assert "light-dark(" in (tmp_path / "t.html").read_text()


@pytest.mark.slow
def test_quick_start_runs_word_for_word(installed, tmp_path):
    """README's quick start from an empty folder outside the clone, then README's lines of Python there."""
    run = subprocess.run(["bash", "-ec", QUICK_START], cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert re.search(r"^D-0\t\S+\t09 April 2031$", run.stdout, re.M), run.stdout[-1000:]
    assert "09 April 2031" in README
    lines = [sys.executable, "-c", FROM_PYTHON]
    run = subprocess.run(lines, cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "09 April 2031" in run.stdout


def test_docstrings_are_markdown():
    """The site shows them as Markdown, in which a role like Sphinx's is noise."""
    role = re.compile(":(class|meth|func|mod|attr|exc|data|obj):`")
    files = [path for room in ("bang_plugin", "scripts", "examples") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    assert not [str(path) for path in files if role.search(path.read_text())], "write ``name`` instead"
