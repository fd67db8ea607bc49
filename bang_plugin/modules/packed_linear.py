"""Linear layers with their weights laid out for inference on a CPU.

torch hands a product of few rows and a large weight matrix to a routine that rearranges the weights on every
call. Here they are rearranged once, by oneDNN (float32, bfloat16) or for 8-bit integer products.
"""

import io
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from fairseq import utils
from torch import Tensor, nn

from ..errors import BangError

# oneDNN's products of 1 to 3 rows and a matrix that no cache holds wait for memory longer than those of 4
FEWEST_ROWS, LARGE = 4, 2**18

# activations that oneDNN applies while it writes the product, by fairseq's functions for them
FUSED = {utils.get_activation_fn(name): name for name in ("gelu", "relu")}


def available(precision: str = "float32") -> bool:
    """Whether this torch and this processor have the layout."""
    if precision == "int8":
        engines = set(torch.backends.quantized.supported_engines) - {"none", "qnnpack"}
        return bool(engines) and hasattr(torch, "quantize_per_channel")  # torch means to remove it
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return precision == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@lru_cache
def _zeros(rows: int, size: int, dims: int, dtype: torch.dtype) -> Tensor:
    """Never written to; ``dims`` dimensions."""
    return torch.zeros(*[1] * (dims - 2), rows, size, dtype=dtype)


class PackedLinear(nn.Module):
    """``x @ weight.T + bias`` for inference only: no gradients, no parameters, no ``state_dict``.

    Args:
        weight: ``(out, in)``, float32.
        bias: ``(out,)`` or None.
        precision: ``float32``: the same numbers up to rounding; ``bf16``: weights and inputs rounded to bfloat16;
            ``int8``: weights rounded to 8 bits per output, inputs per call.
        activation: ``gelu`` or ``relu`` of the result, or ``none``.

    Raises:
        BangError: if this processor or torch lacks the precision.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, precision: str = "float32", activation: str = "none"):
        super().__init__()
        if not available(precision):
            raise BangError(
                f"{precision} linear layers are not supported by this processor or torch {torch.__version__}"
            )
        self.precision, self.activation = precision, activation
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        if precision == "int8":
            scales = weight.abs().amax(1).clamp(min=torch.finfo(weight.dtype).tiny) / 127
            zeros = torch.zeros(len(weight), dtype=torch.long)
            weight = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
        elif precision == "bf16":
            weight, bias = weight.to(torch.bfloat16), None if bias is None else bias.to(torch.bfloat16)
        self.bias, self.large = bias, weight.numel() >= LARGE
        self._pack(weight)

    def _pack(self, weight: Tensor) -> None:
        if self.precision == "int8":
            self.packed = torch.ops.quantized.linear_prepack(weight, self.bias)
        else:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in)`` -> ``(…, out)``, both float32."""
        if self.precision == "int8":
            out = torch.ops.quantized.linear_dynamic(x, self.packed, True)
            return out if self.activation == "none" else getattr(F, self.activation)(out)
        if self.precision == "bf16":
            x = x.to(torch.bfloat16)
        rows = x.numel() // x.size(-1)
        if not 0 < rows < FEWEST_ROWS or not self.large:
            return self._product(x)
        flat = x if x.dim() > 1 and x.size(-2) == rows else x.reshape(1, rows, -1)
        filler = _zeros(FEWEST_ROWS - rows, flat.shape[-1], flat.dim(), flat.dtype)
        out = self._product(torch.cat([flat, filler], dim=-2)).narrow(-2, 0, rows)
        return out if flat is x else out.view(*x.shape[:-1], -1)

    def _product(self, x: Tensor) -> Tensor:
        # "none" is the exact one of the two algorithms for gelu
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "none")
        return out if self.precision == "float32" else out.float()

    def __getstate__(self) -> dict[str, Any]:
        """Copies are packed anew from the weights, since torch can copy or pickle neither of the layouts.

        They are passed on as bytes: a tensor that nothing else holds would be gone before another process opens it.
        """
        state = dict(self.__dict__)
        packed = state.pop("packed")
        int8 = self.precision == "int8"
        file = io.BytesIO()
        torch.save(torch.ops.quantized.linear_unpack(packed)[0] if int8 else packed.to_dense(), file)
        return {**state, "weight": file.getvalue()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weight = torch.load(io.BytesIO(state.pop("weight")), weights_only=True)
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # of torch
        self._pack(weight)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        moved = fn(torch.zeros(1))
        if moved.device.type != "cpu" or moved.dtype != torch.float32:
            raise BangError("this model's weights are laid out for generating on the CPU in float32: load it anew")
        return self


def merged(*layers: nn.Linear, precision: str) -> PackedLinear:
    """One layer that gives the outputs of several, side by side."""
    weight = torch.cat([layer.weight for layer in layers])
    return PackedLinear(weight, torch.cat([layer.bias for layer in layers]), precision)


def pack_children(module: nn.Module, names: Iterable[str], precision: str) -> None:
    """Replace the linear layers ``names`` of ``module``."""
    for name in names:
        layer = getattr(module, name)
        setattr(module, name, PackedLinear(layer.weight, layer.bias, precision))


def pack_feed_forward(layer: Any, precision: str) -> None:
    """Replace ``fc1``, ``activation_fn`` and ``fc2`` of a Transformer layer."""
    activation = FUSED.get(layer.activation_fn, "none")
    layer.fc1 = PackedLinear(layer.fc1.weight, layer.fc1.bias, precision, activation)
    if activation != "none":
        layer.activation_fn = nn.Identity()
    pack_children(layer, ["fc2"], precision)
