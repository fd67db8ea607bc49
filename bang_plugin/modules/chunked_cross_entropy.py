"""Cross-entropy of a vocabulary projection without ever holding the logits of all rows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes the gradients along with the loss, chunk by chunk, as torch's ``linear_cross_entropy``."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        projection: Tensor,
        target: Tensor,
        row_weight: Tensor,
        epsilon: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        precise = torch.promote_types(features.dtype, torch.float32)
        total, empty = features.new_zeros((), dtype=precise), features.new_zeros(0, dtype=precise)
        nll, correct = [empty], [empty.bool()]
        grad_features = torch.empty_like(features) if needs_grad else empty
        # chunks add up in float32, or half precision would lose the later ones
        grad_projection = torch.zeros_like(projection, dtype=precise) if needs_grad else empty
        for start in range(0, len(features), chunk):
            rows = slice(start, start + chunk)
            x, y, w = features[rows], target[rows], row_weight[rows]
            lprobs = F.log_softmax(x @ projection.t(), dim=-1, dtype=precise)
            part = -lprobs.gather(-1, y.unsqueeze(-1)).squeeze(-1)
            smooth = -lprobs.mean(-1)
            total += (w * ((1 - epsilon) * part + epsilon * smooth)).sum()
            nll.append(part)
            correct.append(lprobs.argmax(-1) == y)
            if needs_grad:
                # d loss / d logits = softmax - smoothed target
                grad = lprobs.exp_().sub_(epsilon / lprobs.size(-1))
                grad.scatter_add_(-1, y.unsqueeze(-1), grad.new_full((len(y), 1), epsilon - 1))
                grad = grad.mul_(w.unsqueeze(-1)).to(features.dtype)
                grad_features[rows] = grad @ projection
                if grad.dtype == precise:
                    grad_projection.addmm_(grad.t(), x)
                else:
                    grad_projection += grad.t() @ x
        if needs_grad:
            ctx.save_for_backward(grad_features, grad_projection.to(projection.dtype))
        all_nll, all_correct = torch.cat(nll), torch.cat(correct)
        ctx.mark_non_differentiable(all_nll, all_correct)
        return total, all_nll, all_correct

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, *unused: Any) -> tuple[Tensor | None, ...]:
        grad_features, grad_projection = ctx.saved_tensors
        # in place, since the projection's gradient is as large as the embedding; a second backward pass is refused
        # by a factor in float32: loss scales are more than half precision can hold
        return grad_features.mul_(grad_total), grad_projection.mul_(grad_total), None, None, None, None


def chunked_cross_entropy(
    features: Tensor, projection: Tensor, target: Tensor, row_weight: Tensor, epsilon: float = 0.0, chunk: int = 512
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted label-smoothed cross-entropy of ``features @ projection.T``.

    The same numbers as torch's ``cross_entropy(label_smoothing=epsilon)``, which spreads epsilon over all types,
    the target included. torch's own ``linear_cross_entropy`` is not used because it takes no weight per row and
    tells nothing of the single rows, so that the logged statistics would cost a second projection.

    Args:
        features: ``(pairs, embed_dim)``.
        projection: ``(vocab, embed_dim)``.
        target: ``(pairs,)``.
        row_weight: weight of each pair in the sum, ``(pairs,)``.
        epsilon: label smoothing.
        chunk: rows whose logits are held at a time.

    Returns:
        the weighted sum of losses (differentiable), and without gradient the negative log-likelihood of each pair
        in nats ``(pairs,)`` and whether its most probable type is the target ``(pairs,)``.
    """
    args = features, projection, target, row_weight, epsilon, chunk
    return _ChunkedCrossEntropy.apply(*args)  # type: ignore[no-untyped-call]  # of torch
