"""A real text classification set that pip brings along: which package does a documentation paragraph come from?"""

import ast
import hashlib
import importlib.util
import re
from pathlib import Path

from tqdm import tqdm

from bang_plugin.errors import BangError

# packages with plenty of documentation, all installed with this project's requirements
PACKAGES = ("matplotlib", "networkx", "nltk", "numpy", "scipy", "sklearn", "sympy", "torch")
# their names, and their customary short ones, would give the answer away
NAMES = re.compile(rf"\b({'|'.join(PACKAGES)}|scikit|pytorch|mpl|np|plt|nx)\b", re.IGNORECASE)
WORDS = (8, 60)  # shortest and longest paragraph
MOST_PER_PACKAGE = 2500
SHARES = {"test": 0.1, "dev": 0.05}


def paragraphs(package: str) -> set[str]:
    """First and second paragraphs of all docstrings of an installed package, its name left out.

    The source files are parsed, not imported.

    Raises:
        BangError: if the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BangError(
            f"{package} is not installed: pip install {'scikit-learn' if package == 'sklearn' else package}"
        )
    found: set[str] = set()
    for file in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # templates and tests of parsers
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.update(clean(part) for part in (ast.get_docstring(node) or "").split("\n\n")[:2])
    shortest, longest = WORDS
    return {text for text in found if shortest <= len(text.split()) <= longest and ">>>" not in text}


def clean(text: str) -> str:
    """One line, without markup and names of packages."""
    text = re.sub(r":\w+:|[`*_]+", " ", text)
    return " ".join(NAMES.sub("it", text).split())


def write(folder: Path, most: int | None) -> None:
    """Write ``{train,dev,test}.{src,tgt}``; a paragraph that several packages share is left out.

    A hash of its text decides which part a paragraph belongs to.
    """
    by_package = {package: paragraphs(package) for package in tqdm(PACKAGES, desc="docstrings", unit="package")}
    counts: dict[str, int] = {}
    for texts in by_package.values():
        for text in texts:
            counts[text] = counts.get(text, 0) + 1
    parts: dict[str, list[tuple[float, str, str]]] = {"train": [], "dev": [], "test": []}
    for package, texts in by_package.items():
        chosen = sorted((place(text), text) for text in texts if counts[text] == 1)[:MOST_PER_PACKAGE]
        for k, (_, text) in enumerate(chosen):
            share = k / len(chosen)
            part = "test" if share < SHARES["test"] else "dev" if share < sum(SHARES.values()) else "train"
            parts[part].append((place(text + part), text, package))
    for part, rows in parts.items():
        rows = sorted(rows)[:most]
        (folder / f"{part}.src").write_text("".join(f"{text}\n" for _, text, _ in rows), encoding="utf-8")
        (folder / f"{part}.tgt").write_text("".join(f"{package}\n" for _, _, package in rows), encoding="utf-8")


def place(text: str) -> float:
    """A number in [0, 1) that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
