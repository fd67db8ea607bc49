"""The layers of the package: imports point down only, and what needs no torch imports none."""

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bang_plugin

ROOT = Path(bang_plugin.__file__).parent
# each may import what stands before it, and its own kind
LAYERS = (
    ("errors",),
    ("data", "modules", "optim", "evaluation"),
    ("checkpoints",),
    ("guards",),
    ("models", "criterions"),
    ("decoding",),
    ("tasks",),
    ("conversion",),
    ("hub",),
    ("export",),
    ("serving",),
    ("commands",),
    ("__init__", "__main__", "hydra"),
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}


def room(parts) -> str:
    return parts[0] if parts else "__init__"


def imports(path: Path):
    """Pairs ``(line, module below bang_plugin)``, those within functions too."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")] if node.module else [[alias.name] for alias in node.names]
            if node.level:
                for name in names:
                    yield node.lineno, [*package[: len(package) - node.level + 1], *name]
            elif node.module.split(".")[0] == "bang_plugin":
                for alias in node.names:
                    yield node.lineno, [*node.module.split(".")[1:], alias.name]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "bang_plugin":
                    yield node.lineno, alias.name.split(".")[1:]


def test_every_room_has_its_layer():
    rooms = {path.relative_to(ROOT).with_suffix("").parts[0] for path in ROOT.rglob("*.py")}
    assert rooms == set(HEIGHT)


def test_imports_point_down():
    upward = []
    for path in sorted(ROOT.rglob("*.py")):
        here = path.relative_to(ROOT).with_suffix("").parts[0]
        for line, module in imports(path):
            if HEIGHT[room(module)] > HEIGHT[here] or (HEIGHT[room(module)] == HEIGHT[here] and room(module) != here):
                upward.append(f"{path.relative_to(ROOT)}:{line} imports {'.'.join(module)}")
    assert not upward


def test_the_core_knows_no_other_layer_s_classes():
    """Only ``tasks`` and above may ask what something is; below, an attribute says it."""
    for name in ("modules", "models", "decoding", "criterions"):
        for path in (ROOT / name).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                    assert "Bang" not in ast.unparse(node.args[1]), f"{path}:{node.lineno}"


def python(code: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout


@pytest.mark.parametrize("module", ["bang_plugin", "bang_plugin.evaluation", "bang_plugin.commands.evaluate"])
def test_imports_no_torch(module):
    assert python(f"import sys, {module}; print({{'torch', 'fairseq'}} & set(sys.modules))") == "set()\n"


def test_registers_though_imported_before_fairseq():
    assert python("import bang_plugin; from fairseq.tasks import TASK_REGISTRY; print('bang' in TASK_REGISTRY)") == (
        "True\n"
    )


@pytest.mark.slow
def test_any_module_may_be_imported_first():
    """Each in a process forked for it: fairseq is loaded by then, so that only our own imports are tried."""
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "bang_plugin.") if "hydra" not in m.name]
    names.remove("bang_plugin.__main__")
    code = f"""
import importlib, os, sys, wrapt, torch, fairseq.tasks, fairseq.models, sacrebleu
loaded = sys.modules.pop("fairseq")
for name in {names}:
    if not (child := os.fork()):
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""
    assert python(code) == ""
