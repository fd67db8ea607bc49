"""How often the host waits for a GPU: once a decoder pass and four times a training update, without fairseq's own."""

import argparse
from collections import Counter

import pytest
import torch
from fairseq import utils
from fairseq.data.data_utils import collate_tokens
from fairseq.trainer import Trainer

from bang_plugin.models.bang import BangModel, BangModelConfig

from ..conftest import build_task
from .test_commands import FLEX, load, train

# fairseq's own: its beam search and search strategies, training loop, optimisers, and batches of the Python interface
THEIRS = ("fairseq/sequence_generator.py", "fairseq/search.py", "fairseq/trainer.py", "optim/", "fairseq/hub_utils.py")


@pytest.fixture(autouse=True)
def prepared(reference, toy_checkpoint, pretended_gpu):
    """Trained without the GPU."""


def ours(gpu) -> Counter:
    """Waits by line, without fairseq's."""
    return Counter({line: n for (_, line), n in gpu.waits.items() if not line.startswith(THEIRS)})


def writer(reference, gpu, size=8, models=1, ids=True, **options):
    """A function that writes a batch of ragged sentences; returns the number of decoder passes and our waits.

    Without ``ids`` the task is told the lines' numbers, as by fairseq-interactive.
    """
    torch.manual_seed(0)
    generation = {name: options.pop(name) for name in list(options) if name in ("beam", "no_repeat_ngram_size")}
    backend, nar_prefix = options.pop("attention_backend", "auto"), options.pop("nar_prefix", "empty")
    prefix = options.pop("prefix", None)
    task = build_task(reference.dictionary, **options)
    sizes = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in SIZES.items()}
    cfg = BangModelConfig(
        max_source_positions=40, max_target_positions=40, attention_backend=backend, nar_prefix=nar_prefix, **sizes
    )
    ensemble = [BangModel.build_model(cfg, task).cuda().eval() for _ in range(models)]
    for model in ensemble:
        with torch.no_grad():  # so that some drafts are confirmed, and sentences end at different times
            model.encoder.embed_tokens.weight.mul_(4)
    eos = torch.tensor([reference.dictionary.eos()])
    rows = [torch.cat([torch.randint(10, 60, (3 + i % 5,)), eos]) for i in range(size)]
    tokens = collate_tokens(rows, reference.dictionary.pad(), left_pad=True)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
    if ids:
        sample["id"] = torch.arange(size)
    else:
        task.line_numbers = list(range(size))
    sample = utils.apply_to_sample(lambda t: t.cuda(), sample)

    def write():
        generator = task.build_generator(ensemble, argparse.Namespace(max_len_b=16, **generation))
        before = model.decoder.num_passes
        gpu.reset()
        task.inference_step(generator, ensemble, sample, None if prefix is None else prefix.cuda())
        return model.decoder.num_passes - before, ours(gpu)

    return write


SIZES = {"embed_dim": 32, "ffn_embed_dim": 32, "layers": 2, "attention_heads": 2}


@pytest.mark.parametrize(
    "options",
    [
        {"decoding": "nar"},
        {"decoding": "nar", "nar_chunk": 3},
        {"decoding": "semi_nar", "block_size": 3},
        {"decoding": "confident", "block_size": 4, "confidence": 0.05},
        {"decoding": "confident", "block_size": 4, "confidence": 0.05, "models": 2},
        {"decoding": "adaptive", "block_size": 4, "tolerance": 0.5},
        {"decoding": "adaptive", "block_size": 4, "tolerance": 0.5, "models": 2},
        {"decoding": "speculative", "beam": 1, "block_size": 4},
        {"decoding": "speculative", "beam": 1, "block_size": 4, "attention_backend": "compact"},
        {"decoding": "speculative", "beam": 1, "block_size": 4, "no_repeat_ngram_size": 2},
        {"decoding": "nar", "nar_chunk": 3, "no_repeat_ngram_size": 1},
    ],
    ids=str,
)
def test_blocks_wait_once_a_pass(reference, pretended_gpu, options):
    """And twice a batch: for its longest sentence, and for whether sources are padded, of every model."""
    passes, waits = writer(reference, pretended_gpu, **options)()
    assert passes > 2 or options == {"decoding": "nar"}
    assert sum(waits.values()) == passes + 1 + options.get("models", 1), waits


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4}, {"beam": 4, "models": 2}], ids=str)
def test_beam_search_waits_once_a_pass(reference, pretended_gpu, options):
    """For the order of the beams, which every model and the encoder are told; the rest is fairseq's."""
    passes, waits = writer(reference, pretended_gpu, **options)()
    assert passes > 5
    assert sum(waits.values()) <= passes + options.get("models", 1), waits


@pytest.mark.parametrize("models", [1, 2])
def test_looking_ahead_waits_once_a_step(reference, pretended_gpu, models):
    """For the prefixes that the search asks for, and once a pass for what may follow them."""
    options = {"decoding": "speculative", "draft_width": 8, "beam": 4, "models": models}
    passes, waits = writer(reference, pretended_gpu, **options)()
    assert passes > 5
    assert sum(waits.values()) <= 17 + 2 * passes + models, waits


def test_repeated_ngrams_are_forbidden_without_waiting(reference, pretended_gpu):
    plain = writer(reference, pretended_gpu, beam=4)()
    without = writer(reference, pretended_gpu, beam=4, no_repeat_ngram_size=2)()
    assert sum(without[1].values()) - without[0] == sum(plain[1].values()) - plain[0]


@pytest.mark.parametrize(
    "options, most",
    [
        (["--nar-ratio", 0, *FLEX], 4),
        (["--nar-ratio", 0, "--attention-backend", "compact", "--stream-weights", "1,0.5,0.5"], 4),
        (["--nar-ratio", 1], 4),
        (["--nar-ratio", 0, *FLEX, "--fp16"], 4),
        (["--nar-ratio", 0, "--anchors", 2], 5),  # whose draw depends on the sentences' numbers
    ],
    ids=str,
)
def test_an_update_waits_four_times(toy_data, tmp_path, pretended_gpu, monkeypatch, options, most):
    """For sizes, numbers of the counted pairs, whether sources are padded, and the sums to log."""
    counted = []
    step = Trainer.train_step

    def train_step(*arguments, **more):
        pretended_gpu.reset()
        out = step(*arguments, **more)
        counted.append(ours(pretended_gpu))
        return out

    monkeypatch.setattr(Trainer, "train_step", train_step)
    layers = ["--encoder-layers", 2, "--ngram", 3, "--disable-validation", "--no-save"]
    train(toy_data / "bin", tmp_path, "--task", "bang", *layers, *options, updates=3)
    assert sum(counted[-1].values()) <= most, counted[-1]


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_texts_are_fetched_together(toy_data, toy_checkpoint, pretended_gpu, where):
    """However many there are: one transfer for the texts, one for ids given on the GPU, and the decoding's three."""
    hub = load(toy_data, toy_checkpoint).cuda()
    ids = [hub.encode(text).to(where) for text in ("a b c", "d", "e f") * 4]
    pretended_gpu.reset()
    hub.generate(ids, decoding="nar", max_len_b=12)
    assert sum(ours(pretended_gpu).values()) == (4 if where == "cpu" else 5)
    pretended_gpu.reset()
    hub.sample(["a b", "c"] * 6, decoding="nar", max_len_b=12)
    assert sum(ours(pretended_gpu).values()) == 4
