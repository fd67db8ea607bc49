"""Linear layers with their weights laid out for inference on a CPU.

torch hands a product of few rows and a large weight matrix to a routine that rearranges the weights on every
call. Here they are rearranged once, by oneDNN (float32, bfloat16) or for 8-bit integer products.
"""

from typing import Optional

import torch
from torch import Tensor, nn

from ..errors import BangError

PRECISIONS = ("float32", "bf16", "int8")


def available(precision: str = "float32") -> bool:
    """Whether this torch and this processor have the layout."""
    if precision == "int8":
        return any(engine != "none" for engine in torch.backends.quantized.supported_engines)
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return precision == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class PackedLinear(nn.Module):
    """``x @ weight.T + bias`` for inference only: no gradients, no parameters, no ``state_dict``.

    Args:
        weight: ``(out, in)``, float32.
        bias: ``(out,)`` or None.
        precision: ``float32``: the same numbers up to rounding; ``bf16``: weights and inputs rounded to bfloat16;
            ``int8``: weights rounded to 8 bits per output, inputs per call.

    Raises:
        BangError: if this processor or torch lacks the precision.
    """

    def __init__(self, weight: Tensor, bias: Optional[Tensor], precision: str = "float32"):
        super().__init__()
        if not available(precision):
            raise BangError(
                f"{precision} linear layers are not supported by this processor or torch {torch.__version__}"
            )
        self.precision = precision
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        if precision == "int8":
            scales = weight.abs().amax(1).clamp(min=torch.finfo(weight.dtype).tiny) / 127
            zeros = torch.zeros(len(weight), dtype=torch.long)
            rounded = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rounded, bias)
        else:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype))
            self.bias = None if bias is None else bias.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in)`` -> ``(…, out)``, both float32."""
        if self.precision == "int8":
            return torch.ops.quantized.linear_dynamic(x, self.packed, True)
        if self.precision == "bf16":
            x = x.to(torch.bfloat16)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "").float()

    def _apply(self, fn, recurse=True):
        moved = fn(torch.zeros(1))
        if moved.device.type != "cpu" or moved.dtype != torch.float32:
            raise BangError("this model's weights are laid out for generating on the CPU in float32: load it anew")
        return self


def merged(*layers: nn.Linear, precision: str) -> PackedLinear:
    """One layer that gives the outputs of several, side by side."""
    weight = torch.cat([layer.weight for layer in layers])
    return PackedLinear(weight, torch.cat([layer.bias for layer in layers]), precision)


def pack_children(module: nn.Module, names, precision: str) -> None:
    """Replace the linear layers ``names`` of ``module``."""
    for name in names:
        layer = getattr(module, name)
        setattr(module, name, PackedLinear(layer.weight, layer.bias, precision))
