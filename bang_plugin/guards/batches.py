"""Sizes of batches that stop the process where it stands."""

import functools

from ..errors import BangError


def guarded(batch_by_size):
    """fairseq's ``batch_by_size``."""

    @functools.wraps(batch_by_size)
    def checked(indices, num_tokens_fn, num_tokens_vec=None, max_tokens=None, max_sentences=None, *args, **kwargs):
        multiple = args[0] if args else kwargs.get("required_batch_size_multiple", 1)
        if multiple < 1:
            raise BangError(f"--required-batch-size-multiple {multiple}: must be at least 1")
        return batch_by_size(indices, num_tokens_fn, num_tokens_vec, max_tokens, max_sentences, *args, **kwargs)

    return checked
