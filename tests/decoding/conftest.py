"""A short way to write sentences."""

import argparse

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
    args = argparse.Namespace(**{"beam": 1, "max_len_b": 30, **options})
    return task.inference_step(task.build_generator(models, args), models, sample)
