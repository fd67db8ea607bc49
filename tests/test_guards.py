"""The table of what is changed in fairseq: nothing before one of our tasks is used, everything then."""

import os
import subprocess
import sys

from .command_line import PLUGIN

SCRIPT = """
import sys
from types import SimpleNamespace
import fairseq_cli.interactive
from fairseq import tasks, utils

hook = sys.excepthook
utils.import_user_module(SimpleNamespace(user_dir="{plugin}"))  # as every command does, whatever its task
import bang_plugin
from bang_plugin.guards import table

def there(change):
    return [vars(owner).get(change.name) for owner in table._owners(change)]

def guarded(function):
    return hasattr(getattr(function, "__func__", function), "is_bang_guard")

changed = [change.name for change in table.CHANGES for function in there(change) if guarded(function)]
assert not changed and sys.excepthook is hook, changed
try:
    {use}
except bang_plugin.errors.BangError:
    pass
assert all(guarded(f) for change in table.CHANGES for f in there(change)), "not changed"
once = [there(change) for change in table.CHANGES]
table.install()
assert [there(change) for change in table.CHANGES] == once, "changed twice"
"""


def run(use: str):
    script = SCRIPT.replace("{use}", use).replace("{plugin}", PLUGIN)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_import_changes_nothing_and_a_task_everything():
    run("tasks.TASK_REGISTRY['bang'].add_args(__import__('argparse').ArgumentParser())")


def test_from_pretrained_changes_everything():
    run("bang_plugin.models.bang.BangModel.from_pretrained('nowhere')")


SWITCHED_OFF = """
import sys
from types import SimpleNamespace
import fairseq_cli.generate, fairseq_cli.interactive, fairseq_cli.train
from bang_plugin.guards import table
from tests.conftest import SMALL

def there():
    return [vars(owner).get(change.name) for change in table.CHANGES for owner in table._owners(change)]

data, plugin, folder = sys.argv[1:]
before = there()

def run(command, *arguments):
    sys.argv = [f"fairseq-{command}", data, "--task", "bang", "--user-dir", plugin, "--cpu", "--num-workers", "0"]
    sys.argv += map(str, arguments)
    sys.modules[f"fairseq_cli.{command}"].cli_main()

run("train", *SMALL, "--nar-ratio", 0.5, "--max-update", 2, "--save-dir", folder)
run("train", *SMALL, "--nar-ratio", 0.5, "--max-update", 4, "--save-dir", folder)
for more in (["ar"], ["nar", "--required-batch-size-multiple", 1]):
    run("generate", "--path", f"{folder}/checkpoint_last.pt", "--max-len-b", 5, "--decoding", *more)
assert len(before) >= len(table.CHANGES)
assert there() == before, "changed"
"""


def test_the_switch_leaves_fairseq_alone(toy_data, tmp_path):
    """Under it our task trains, resumes and generates with fairseq's own functions."""
    command = [sys.executable, "-c", SWITCHED_OFF, str(toy_data / "bin"), PLUGIN, str(tmp_path)]
    off = {**os.environ, "BANG_GUARDS": "0"}
    result = subprocess.run(command, capture_output=True, text=True, env=off, cwd=os.path.dirname(PLUGIN))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "4 updates" in result.stderr + result.stdout
    # the first without a rest of 3 sentences, since fairseq alone leaves out what is no multiple of 8
    assert result.stdout.count("\nH-") == 40 + 43


OTHER_PLUGIN = """
from fairseq.models import register_model_architecture
from fairseq.models.transformer import base_architecture
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

@register_task("another_task", dataclass=TranslationConfig)
class AnotherTask(TranslationTask):
    pass

@register_model_architecture("transformer", "another_model")
def another_model(args):
    args.encoder_embed_dim = args.decoder_embed_dim = args.encoder_ffn_embed_dim = args.decoder_ffn_embed_dim = 16
    args.encoder_layers = args.decoder_layers = args.encoder_attention_heads = args.decoder_attention_heads = 1
    base_architecture(args)
"""

WITH_ANOTHER_PLUGIN = """
import contextlib, io, logging, random, sys
import fairseq_cli.generate, fairseq_cli.train
import numpy, torch
from fairseq import registry, utils
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY

data, plugin = sys.argv[1:]

def run(command, *arguments):
    sys.argv = [f"fairseq-{command}", data, "--task", "another_task", "--user-dir", plugin, "--cpu", *arguments]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        sys.modules[f"fairseq_cli.{command}"].cli_main()
    return out.getvalue()

def whole_story(folder):
    training = "--arch another_model --optimizer adam --lr 0.01 --max-update 3 --max-tokens 300 --num-workers 0"
    run("train", *training.split(), "--disable-validation", "--save-dir", folder)
    path = f"{folder}/checkpoint_last.pt"
    lines = run("generate", "--path", path, "--num-workers", "0", "--beam", "2", "--max-len-b", "5")
    return torch.load(path, weights_only=False)["model"], lines

def everything():
    names = {"TASK": TASK_REGISTRY, "ARCH": ARCH_MODEL_REGISTRY}
    names.update({kind: parts["registry"] for kind, parts in registry.REGISTRIES.items()})
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in ("fairseq", "fairseq_cli") and name.count(".") < 9:
            names[name] = vars(module)
    found = {(where, key): id(value) for where, part in names.items() for key, value in list(part.items())}
    kinds = [kind for part in list(names.values()) for kind in list(part.values()) if isinstance(kind, type)]
    for kind in kinds:
        if kind.__module__.partition(".")[0] in ("fairseq", "fairseq_cli"):
            methods = {key: id(value) for key, value in vars(kind).items() if callable(value)}
            found.update({((kind.__module__, kind.__qualname__), key): value for key, value in methods.items()})
    return found

parameters, lines = whole_story("before")
state = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()
root = logging.getLogger()
settings = sys.excepthook, root.level, list(root.handlers), sys.stdout, torch.get_default_dtype()
there = everything()
import bang_plugin
now = everything()
changed = [key for key, value in there.items() if now.get(key) != value]
assert not [key for key in changed if not key[1].startswith("__")], changed
assert settings == (sys.excepthook, root.level, list(root.handlers), sys.stdout, torch.get_default_dtype())
assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()
assert state[2] == numpy.random.get_state()[1].tolist()
again, same_lines = whole_story("after")
assert parameters.keys() == again.keys() and all(torch.equal(parameters[k], again[k]) for k in parameters)
assert [l for l in lines.splitlines() if l[1:2] == "-"] == [l for l in same_lines.splitlines() if l[1:2] == "-"]
assert lines.count("H-") == same_lines.count("H-") > 0
assert sys.excepthook is settings[0], "another plugin's run was guarded"
"""


def test_another_plugin_works_as_ever(toy_data, tmp_path):
    """A model of another --user-dir, trained and used before and after this package is imported.

    All that the import adds is names in fairseq's registries and classes that torch may read (without which torch
    reads no checkpoint of fairseq's, so that here the other plugin lets it read all).
    """
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "__init__.py").write_text(OTHER_PLUGIN)
    command = [sys.executable, "-c", WITH_ANOTHER_PLUGIN, str(toy_data / "bin"), str(tmp_path / "another")]
    trusting = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=trusting)
    assert result.returncode == 0, result.stderr[-3000:]
