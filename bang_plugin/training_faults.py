"""What happens when numbers leave their range in training."""

import functools

from fairseq.trainer import Trainer

from .errors import BangError

SKIPPED = 100  # batches in a row without an update after which nothing is to be hoped for


def install() -> None:
    """Guard fairseq's ``Trainer.train_step``; idempotent."""
    if not hasattr(Trainer.train_step, "is_guarded"):
        Trainer.train_step = _guarded(Trainer.train_step)


def _guarded(train_step):
    @functools.wraps(train_step)
    def guarded(self, samples, raise_oom=False):
        updates = self.get_num_updates()
        try:
            output = train_step(self, samples, raise_oom)
        except Exception as error:
            reason = _behind(error, FloatingPointError)
            if reason is not None:  # fairseq then looks for the module at fault, and trips over our outputs
                raise BangError(
                    f"update {updates + 1}: {reason}; the checkpoints saved before are whole, and "
                    f"{self.cfg.checkpoint.save_dir}/crash.pt holds the state that led to this; try a lower --lr or "
                    "--clip-norm"
                ) from error
            # after an overflow in fp16 fairseq skips the update, but puts a number onto the GPU to say so
            if self.cuda or _behind(error, OverflowError) is None:
                raise
            self.zero_grad()
            output = None
        self.skipped = getattr(self, "skipped", 0) + 1 if self.get_num_updates() == updates else 0
        if self.skipped >= SKIPPED:  # --amp knows no smallest scale and would go on for ever
            raise BangError(
                f"update {updates + 1}: {self.skipped} batches in a row overflowed; the checkpoints saved before are "
                "whole; try a lower --lr or --clip-norm"
            )
        return output

    guarded.is_guarded = True
    return guarded


def _behind(error, kind):
    """The error of that kind that this one is, or was raised while handling."""
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error
