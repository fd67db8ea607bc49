"""What happens when numbers leave their range in training."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fairseq.logging.meters import MetersDict

from ..errors import BangError

if TYPE_CHECKING:
    from fairseq.trainer import Trainer


def guarded(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``Trainer.train_step``."""

    @functools.wraps(train_step)
    def step(self: "Trainer", samples: list[Any], raise_oom: bool = False) -> Any:
        try:
            return train_step(self, samples, raise_oom)
        except Exception as error:
            # behind, since fairseq then looks for the module at fault, and may trip
            reason: BaseException | str | None = _behind(error, FloatingPointError)
            if reason is None and not self.cuda and "_backoff_factor" in str(error):
                reason = "gradients are Nan/Inf"  # --amp, which on a CPU has no scale that could be lowered
            if reason is not None:
                raise BangError(
                    f"update {self.get_num_updates() + 1}: {reason}; the checkpoints saved before are whole; "
                    "try a lower --lr or --clip-norm"
                ) from error
            # after an overflow in fp16 fairseq skips the update, but puts a number onto the GPU to say so
            if self.cuda or _behind(error, OverflowError) is None:
                raise
            self.zero_grad()
            return None

    return step


def known_values(get_smoothed_values: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``MetersDict.get_smoothed_values``, without meters that hold nothing.

    Those of NAR do when no update of an interval trained it.
    """

    @functools.wraps(get_smoothed_values)
    def known(self: MetersDict) -> Any:
        values = get_smoothed_values(self)
        return type(values)((name, value) for name, value in values.items() if value is not None)

    return known


def _behind(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error of that kind that this one is, or was raised while handling."""
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error
