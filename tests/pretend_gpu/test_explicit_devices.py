"""Each place of the package that names a device: were it "cpu" there, the pretended GPU would notice.

One place at a time is changed in the running program, and everything that uses a GPU is done.
"""

import ast
import contextlib
import copy
import importlib
import inspect
import types
from pathlib import Path

import pytest
import torch
from fairseq import utils

import bang_plugin
from bang_plugin.criterions.nstream_loss import NStreamLoss
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.optim.torch_adamw import TorchAdamW, TorchAdamWConfig

from ..conftest import build_task
from .test_commands import load
from .test_server import answers, loaded
from .test_waits import SIZES, writer

PACKAGE = Path(bang_plugin.__file__).parent
LEGAL = {  # a GPU allows these, or they are for several processes, which are not tried here
    # indices of a GPU tensor, sent there at each use: test_waits.py would notice
    ("cache", "torch.arange(rows.size(0), device=rows.device)"),
    # the mask is where the tensor lies that it is read from
    (
        "attention_backends",
        "create_block_mask(lambda b, h, row, key: seen[b, row, key], bsz, None, rows, keys, device=str(seen.device))",
    ),
    ("session", "torch.arange(bsz, device=rows.device)"),  # an order that changes nothing is not used
    ("torch_adamw", "torch.zeros(1, device=device, dtype=dtype)"),  # the CPU has a fused kernel as well
    ("resuming", "torch.tensor([float(PathManager.isfile(path))], device=trainer.device)"),
    ("resuming", "torch.distributed.broadcast_object_list(parts, src=src_rank, group=group, device=dist_device)"),
}


def places(tree: ast.Module) -> list:
    """Expressions that say where a tensor shall be: ``(call, keyword or None)``."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        found += [(call, keyword) for keyword in call.keywords if keyword.arg == "device"]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "to" and call.args:
            if "device" in ast.unparse(call.args[0]):
                found.append((call, None))
    return [(call, keyword) for call, keyword in found if "cpu" not in ast.unparse(keyword or call.args[0])]


def all_places() -> list:
    """``(module, number in the file, text)``."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join([PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts])
        for number, (call, _) in enumerate(places(ast.parse(file.read_text()))):
            found.append((module.removesuffix(".__init__"), number, ast.unparse(call)))
    return found


def functions(namespace) -> dict:
    """Functions and methods that a module or class defines, by name and line, without their decorators."""
    found = {}
    for value in vars(namespace).values():
        if inspect.isclass(value) and value.__module__ == getattr(namespace, "__module__", namespace.__name__):
            found |= functions(value)
        value = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)))
        if isinstance(value, types.FunctionType):
            found[value.__code__.co_qualname, value.__code__.co_firstlineno] = value
    return found


def codes(code: types.CodeType):
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from codes(part)


@contextlib.contextmanager
def on_the_cpu(module: str, number: int):
    """The module's place of that number says "cpu"."""
    module = importlib.import_module(module)
    tree = ast.parse(Path(module.__file__).read_text())
    call, keyword = places(tree)[number]
    if keyword:
        keyword.value = ast.copy_location(ast.Constant("cpu"), keyword.value)
    else:
        call.args[0] = ast.copy_location(ast.Constant("cpu"), call.args[0])
    changed = {(c.co_qualname, c.co_firstlineno): c for c in codes(compile(tree, module.__file__, "exec"))}
    there = functions(module)
    before = {key: function.__code__ for key, function in there.items()}
    differing = [key for key in there if key in changed and changed[key] != before[key]]
    assert differing, f"{module.__name__}: no function holds {ast.unparse(call)}"
    try:
        for key in differing:
            there[key].__code__ = changed[key]
        yield
    finally:
        for key in differing:
            there[key].__code__ = before[key]


def train_all_ways(reference, batch) -> None:
    sizes = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in SIZES.items()}
    for options, backend in (
        ({"ngram": 3}, "flex"),
        ({"ngram": 3, "anchors": 2, "stream_weights": [1.0, 0.5, 0.5], "sentence_avg": True}, "compact"),
        ({"nar_ratio": 1.0}, "dense"),
        ({"nar_ratio": 1.0}, "compact"),
    ):
        task = build_task(reference.dictionary)
        cfg = BangModelConfig(
            max_source_positions=40, max_target_positions=40, attention_backend=backend, attention_dropout=0.0, **sizes
        )
        model = BangModel.build_model(cfg, task).cuda()
        sample = utils.apply_to_sample(lambda t: t.cuda(), batch)
        if options == {"nar_ratio": 1.0} and backend == "compact":  # as in pretraining, whose spans tell their rest
            model.decoder.nar_prefix = "start"
            real = sample["target"].ne(reference.dictionary.pad())
            sample["remaining"] = real.flip(1).cumsum(1).flip(1) * real
        NStreamLoss(task, **options)(model, sample)[0].backward()
        TorchAdamW(TorchAdamWConfig(lr=[0.1]), model.parameters()).step()
        model(*(t.cuda() for t in batch["net_input"].values()))


def write_all_ways(reference, gpu) -> None:
    for options in (
        {"decoding": "speculative", "beam": 1, "attention_backend": "compact"},
        {"decoding": "speculative", "beam": 3, "draft_width": 6},
        {"decoding": "nar", "nar_candidates": 3, "nar_chunk": 3},
        {"decoding": "semi_nar", "block_size": 3},
        {"decoding": "semi_nar", "block_size": 3, "prefix": torch.tensor([[20, 21], [22, 0], [23, 24], [25, 26]])},
        {"decoding": "nar", "nar_chunk": 3, "nar_prefix": "start"},
        {"beam": 2, "no_repeat_ngram_size": 2, "ids": False, "size": 8},
    ):
        writer(reference, gpu, **{"size": 4, **options})()


def serve_all_ways(folder, data) -> None:
    hub = loaded(folder, data)
    model = hub.models[0]
    model(*(torch.ones(1, 3, dtype=torch.long).cuda() for _ in range(3)))  # the model has been moved
    for options in ({"decoding": "semi_nar"}, {"decoding": "ar", "beam": 2}):
        answers(hub, ["a b", "h g f e d c b a"], options, watched=True)


def noticed(place, reference, batch, hub, served, gpu) -> bool:
    module, number, _ = place
    steps = {
        "hub": lambda: hub().score(["a b", "c"], ["B A", "C"]),
        "scoring": lambda: hub().score(["a b", "c"], ["B A", "C"], decoding="nar"),
        "decoding": lambda: write_all_ways(reference, gpu),
        "serv": served,
        "": lambda: train_all_ways(reference, copy.deepcopy(batch)),
    }
    with on_the_cpu(module, number):
        try:
            for name in sorted(steps, key=lambda name: name not in module):  # first what is likely to notice
                steps[name]()
        except (RuntimeError, TypeError, NotImplementedError):
            return bool(gpu.faults)
        finally:
            gpu.faults.clear()
    return False


@pytest.fixture
def everything(reference, batch, toy_data, toy_checkpoint, pretended_gpu):
    """Arguments of ``noticed`` that are the same for all places; nothing is noticed without a change."""
    served = lambda: serve_all_ways(Path(toy_checkpoint).parent, toy_data / "bin")
    arguments = reference, batch, lambda: load(toy_data, toy_checkpoint).cuda(), served, pretended_gpu
    write_all_ways(reference, pretended_gpu)
    train_all_ways(reference, batch)
    served()
    assert not pretended_gpu.faults
    return arguments


PLACES = all_places()


def named(place) -> tuple:
    return place[0].rpartition(".")[2], place[2]


def test_some_places(everything):
    assert len(PLACES) > 25
    for place in PLACES[:: len(PLACES) // 4]:
        assert noticed(place, *everything) == (named(place) not in LEGAL), place


@pytest.mark.slow
def test_every_place(everything):
    assert {named(place) for place in PLACES if not noticed(place, *everything)} == LEGAL
