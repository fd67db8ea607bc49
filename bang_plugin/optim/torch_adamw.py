"""``--optimizer torch_adamw``: torch's AdamW, which updates all parameters of a device in one fused kernel."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from ..errors import BangError


@dataclass
class TorchAdamWConfig(FairseqDataclass):
    """Options of ``TorchAdamW``."""

    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "decay of the means of gradients and squares"})
    adam_eps: float = field(default=1e-8, metadata={"help": "added to the root of the mean square"})
    weight_decay: float = field(default=0.0, metadata={"help": "weight decay, apart from the gradients"})
    lr: List[float] = II("optimization.lr")


@register_optimizer("torch_adamw", dataclass=TorchAdamWConfig)
class TorchAdamW(FairseqOptimizer):
    """``torch.optim.AdamW``, fused where torch has the kernel for the parameters' device.

    It does what fairseq's ``adam`` does, but adds ``--adam-eps`` to the root of the *unbiased* mean square, as the
    paper on Adam (and apex) does; the two agree unless gradients are about as small as ``--adam-eps``.
    """

    def __init__(self, cfg: TorchAdamWConfig, params: Iterable[Any]):
        super().__init__(cfg)
        params = list(params)
        groups = [group["params"] if isinstance(group, dict) else [group] for group in params]
        kinds = {(parameter.device, parameter.dtype) for group in groups for parameter in group}
        self.fused = all(has_fused_kernel(*kind) for kind in kinds)
        self._optimizer = torch.optim.AdamW(params, fused=self.fused, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """torch's names of the options; they replace those that a checkpoint holds."""
        lr: Any = self.cfg.lr
        return {
            "lr": lr[0] if isinstance(lr, Sequence) else lr,
            "betas": betas(self.cfg.adam_betas),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    @property
    def supports_flat_params(self) -> bool:
        """Every number is updated by itself, so parameters may be joined."""
        return True

    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None) -> None:
        """Go on from a saved state, which may come from a device with or without the fused kernel."""
        groups = [{**group, "fused": self.fused} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups}, optimizer_overrides)


def betas(value: str | Iterable[float]) -> tuple[float, float]:
    """Both decay rates, from the command line's text or a sequence.

    Raises:
        BangError: if they are not two numbers from 0 up to, but not including, 1.
    """
    try:
        first, second = map(float, ast.literal_eval(value) if isinstance(value, str) else value)
        if not (0 <= first < 1 and 0 <= second < 1):
            raise ValueError
    except (ValueError, TypeError, SyntaxError) as error:
        raise BangError(f"--adam-betas {value}: not two numbers from 0 up to 1, as in '(0.9, 0.98)'") from error
    return first, second


def has_fused_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch can update parameters on ``device`` in one kernel: by trying, since devices differ."""
    trial = torch.nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
    trial.grad = torch.zeros_like(trial)
    try:
        torch.optim.AdamW([trial], fused=True).step()
    except (RuntimeError, NotImplementedError):
        return False
    return True
