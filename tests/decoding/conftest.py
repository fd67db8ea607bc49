"""Sentences to write, and a short way to write them."""

import argparse

import pytest
import torch
from fairseq.data.data_utils import collate_tokens


def write(task, model, rows, **options):
    """Best hypothesis of each source in ``rows``; ``model`` may be a list (an ensemble)."""
    return [h[0] for h in write_all(task, model, rows, **options)]


def write_all(task, model, rows, left_pad=True, pad_to=None, **options):
    """All hypotheses of each source."""
    pad = task.source_dictionary.pad()
    models = model if isinstance(model, list) else [model]
    tokens = collate_tokens(rows, pad, left_pad=left_pad, pad_to_length=pad_to)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(r) for r in rows])}}
    args = argparse.Namespace(**{"max_len_b": 30, **options})
    return task.inference_step(task.build_generator(models, args), models, sample)


@pytest.fixture
def rows(reference):
    torch.manual_seed(0)
    eos = torch.tensor([reference.dictionary.eos()])
    return [torch.cat([torch.randint(10, 60, (int(n),)), eos]) for n in torch.randint(1, 12, (8,))]
