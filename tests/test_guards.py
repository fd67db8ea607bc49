"""The table of what is changed in fairseq: nothing before one of our tasks is used, everything then."""

import subprocess
import sys

from .command_line import PLUGIN

SCRIPT = """
import sys
import fairseq_cli.interactive
from bang_plugin.guards import table
from fairseq import tasks

def there(change):
    return [vars(owner).get(change.name) for owner in table._owners(change)]

def guarded(function):
    return hasattr(getattr(function, "__func__", function), "is_bang_guard")

hook, before = sys.excepthook, [there(change) for change in table.CHANGES]
from types import SimpleNamespace
from fairseq import utils
utils.import_user_module(SimpleNamespace(user_dir="{plugin}"))
import bang_plugin
assert [there(change) for change in table.CHANGES] == before and sys.excepthook is hook, "changed by the import"
assert not any(guarded(f) for functions in before for f in functions)
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
