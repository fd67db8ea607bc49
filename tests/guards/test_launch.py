"""Training on a CPU, as a process of its own."""

import os
import subprocess
import sys

from ..command_line import PLUGIN


def test_what_onednn_compiles_for_a_batch_is_not_kept(toy_data):
    """It never finds anything that it has kept, neither for the second update nor within one."""
    program = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.train", toy_data / "bin", "--user-dir", PLUGIN]
    program += ["--task", "bang", "--cpu", "--arch", "bang_tiny", "--criterion", "nstream_loss", "--optimizer", "adam"]
    program += ["--max-tokens", 100, "--max-update", 2, "--no-save", "--disable-validation", "--num-workers", 0]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ONEDNN_VERBOSE": "2"}
    environment.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    run = subprocess.run(list(map(str, program)), capture_output=True, text=True, env=environment, check=True)
    assert ",create:cache_miss," in run.stdout and ",create:cache_hit," not in run.stdout
