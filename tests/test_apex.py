"""NVIDIA apex: its fused LayerNorm and Adam are used where it is installed, and nothing needs it.

apex runs on GPUs only, so a stand-in with its names takes its place, in a process of its own, that also says there is
a GPU: fairseq asks for one before it turns to apex.
"""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, json, sys
import torch
from omegaconf import OmegaConf

if "with-apex" in sys.argv:
    torch.cuda.is_available = lambda: True
    torch.cuda.device = lambda device: contextlib.nullcontext()

from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.tasks.bang import BangConfig, BangTask
from fairseq.data import Dictionary
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig

dictionary = Dictionary()
dictionary.add_symbol("a")
limits = {"max_source_positions": 8, "max_target_positions": 8}
sizes = {"layers": 1, "embed_dim": 8, "ffn_embed_dim": 8, "attention_heads": 2}
sizes = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}
task = BangTask(BangConfig(data="", **limits), dictionary, dictionary)
model = BangModel.build_model(BangModelConfig(**limits, **sizes), task)
optimizer = FairseqAdam(OmegaConf.structured(FairseqAdamConfig(lr=[0.1], tpu=False)), list(model.parameters()))
before = [p.detach().clone() for p in model.parameters()]
batch = torch.full((1, 3), dictionary.index("a"))
logits, _ = model(batch, torch.tensor([3]), batch)
logits.pow(2).sum().backward()
optimizer.step()
norms = [type(m) for m in model.modules() if "LayerNorm" in type(m).__name__]
print(json.dumps({
    "norms": len(norms),
    "apex_norms": sum(any(c.__module__ == "apex.normalization" for c in norm.__mro__) for norm in norms),
    "optimizer": [c.__module__ for c in type(optimizer.optimizer).__mro__],
    "moved": sum(not torch.equal(a, b) for a, b in zip(before, model.parameters())),
    "finite": bool(logits.isfinite().all()),
}))
"""

STAND_IN = {
    "apex/__init__.py": "",
    "apex/normalization.py": "import torch\n\nclass FusedLayerNorm(torch.nn.LayerNorm):\n    pass\n",
    # gradient descent in place of Adam's kernel
    "apex/multi_tensor_apply.py": """
class Applier:
    available = True

    def __call__(self, kernel, buffer, lists, learning_rate, *rest):
        for gradient, parameter in zip(lists[0], lists[1]):
            parameter.sub_(learning_rate * gradient)

multi_tensor_applier = Applier()
""",
    "apex/optimizers.py": """
import torch

class FusedAdam(torch.optim.Optimizer):
    multi_tensor_adam, _dummy_overflow_buf, adam_w_mode = None, None, 1

    def __init__(self, params, lr, betas, eps, weight_decay):
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "bias_correction": True}
        super().__init__(params, options)
""",
}

NORMS = 7  # of the embeddings and the layers: 1 and 2 in the encoder, 1 and 3 in the decoder


def run(folder, *arguments) -> dict:
    program = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert program.returncode == 0, program.stderr[-2000:]
    return json.loads(program.stdout.splitlines()[-1])


@pytest.fixture
def stand_in(tmp_path):
    for name, text in STAND_IN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_apex_is_picked_up(stand_in):
    used = run(stand_in, "with-apex")
    assert used["norms"] == used["apex_norms"] == NORMS
    assert used["optimizer"][:2] == ["fairseq.optim.fused_adam", "apex.optimizers"]
    assert used["moved"] > 0 and used["finite"]


def test_all_works_without_apex(tmp_path):
    used = run(tmp_path)
    assert (used["norms"], used["apex_norms"]) == (NORMS, 0)
    assert used["optimizer"][0] == "fairseq.optim.adam"
    assert used["moved"] > 0 and used["finite"]
