"""The chunked loss equals torch's cross-entropy, gradients included."""

import pytest
import torch
import torch.nn.functional as F

from bang_plugin.modules.chunked_cross_entropy import chunked_cross_entropy


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_equals_torch(chunk, epsilon):
    torch.manual_seed(0)
    features = torch.randn(11, 6, requires_grad=True)
    projection = torch.randn(9, 6, requires_grad=True)
    target, weight = torch.randint(9, (11,)), torch.rand(11)
    total, nll, correct = chunked_cross_entropy(features, projection, target, weight, epsilon, chunk)
    (2.5 * total).backward()
    ours = features.grad.clone(), projection.grad.clone()
    features.grad = projection.grad = None
    logits = features @ projection.t()
    expected = (weight * F.cross_entropy(logits, target, label_smoothing=epsilon, reduction="none")).sum()
    (2.5 * expected).backward()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(nll, F.cross_entropy(logits, target, reduction="none"))
    assert torch.equal(correct, logits.argmax(-1) == target)
    torch.testing.assert_close(ours, (features.grad, projection.grad))


def test_second_backward_pass_is_refused():
    """Gradients are scaled in place."""
    features, projection = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    total, _, _ = chunked_cross_entropy(features, projection, torch.tensor([0, 1, 2]), torch.ones(3))
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace"):
        total.backward()


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch without linear_cross_entropy")
def test_equals_torchs_chunked_operator():
    features, projection, target = torch.randn(50, 8), torch.randn(30, 8), torch.randint(30, (50,))
    total, _, _ = chunked_cross_entropy(features, projection, target, torch.ones(50), 0.1, 16)
    expected = F.linear_cross_entropy(features, projection, target, label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(total, expected)


def test_no_pairs():
    features = torch.zeros(0, 4, requires_grad=True)
    total, nll, correct = chunked_cross_entropy(
        features, torch.randn(5, 4, requires_grad=True), torch.zeros(0, dtype=torch.long), torch.zeros(0)
    )
    total.backward()
    assert total == 0 and len(nll) == len(correct) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_good_as_one_product(dtype):
    """Chunks add up in float32, and a loss scale may be larger than half precision can hold."""
    torch.manual_seed(0)
    features, projection = torch.randn(4096, 16) / 4, torch.randn(50, 16) / 4
    target, weight = torch.randint(50, (4096,)), torch.full((4096,), 1 / 4096)

    def gradients(dtype, scale, chunk):
        inputs = [x.to(dtype).requires_grad_() for x in (features, projection)]
        total, *_ = chunked_cross_entropy(*inputs, target, weight.to(dtype), 0.1, chunk)
        (scale * total).backward()
        return [x.grad.float() / scale for x in inputs]

    exact = gradients(torch.float64, 1.0, 4096)
    scale = 2.0**17 if dtype == torch.float16 else 1.0
    for found, whole, expected in zip(gradients(dtype, scale, 16), gradients(dtype, scale, 4096), exact):
        assert found.isfinite().all()
        error, least = ((x - expected).norm() / expected.norm() for x in (found, whole))
        assert error < 1.5 * least + 1e-3
