"""The pretended GPU has the behaviour that CUDA is known to have."""

import copy
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from .device import PretendGPU

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def g():
    with PretendGPU(product=__file__) as gpu:
        yield gpu


def raises(kind, text, f):
    try:
        f()
    except kind as e:
        assert text in str(e), e
        return
    raise AssertionError(f"no {kind.__name__}")


mix = lambda f: raises(RuntimeError, "same device", f)
on = lambda *ts: all(
    t.is_cuda and t.device == torch.device("cuda:0") and t.get_device() == 0 and not t.is_cpu for t in ts
)
C = lambda *s: torch.rand(*s, device="cuda")
L = lambda *v: torch.tensor(v, device="cuda")


def test_factories(g):
    assert (
        on(
            torch.zeros(2, device="cuda"),
            torch.arange(3, device="cuda:0"),
            torch.full((2,), 1.0, device=torch.device("cuda")),
            torch.tensor([1], device="cuda"),
            torch.as_tensor([1], device="cuda"),
            torch.rand(2, device=torch.zeros(1, device="cuda").device),
            torch.empty(2).cuda(),
            torch.zeros(1, device=0),
            torch.ones(1).to(0),
            torch.ones(1).to(device=0, non_blocking=True),
            torch.ones(1).cuda(0),
            torch.ones(1).to("cuda"),
            torch.ones(1).to(C(1)),
        )
        and not on(torch.zeros(2))
        and not torch.ones(1).is_cuda
    )


def test_elementwise_mixing_raises(g):
    mix(lambda: C(3) + torch.ones(3))
    mix(lambda: torch.ones(3) * C(3))
    mix(lambda: C(3).masked_fill(torch.ones(3) > 0, 0.0))
    mix(lambda: torch.where(C(3) > 0, C(3), torch.ones(3)))
    mix(lambda: C(3).add_(torch.ones(3)))


def test_matrix_mixing_raises(g):
    mix(lambda: C(2, 3) @ torch.ones(3, 2))
    mix(lambda: F.linear(C(2, 3), torch.ones(4, 3)))
    mix(lambda: torch.cat([C(2), torch.ones(2)]))
    mix(lambda: torch.stack([C(1)[0], torch.tensor(1.0)]))
    mix(lambda: nn.Linear(3, 2)(C(3)))
    mix(lambda: nn.Linear(3, 2).cuda()(torch.ones(3)))
    mix(lambda: F.layer_norm(C(2, 3), (3,), torch.ones(3), torch.ones(3)))


def test_lookup_mixing_raises(g):
    i = torch.tensor([0, 1])
    mix(lambda: C(3).gather(0, i))
    mix(lambda: C(3).index_select(0, i))
    mix(lambda: F.embedding(i, C(3, 2)))
    mix(lambda: F.embedding(i.cuda(), torch.ones(3, 2)))
    mix(lambda: C(3).scatter(0, i, C(2)))
    mix(lambda: C(3).scatter_add_(0, i.cuda(), torch.ones(2)))


def test_cpu_scalars_are_allowed(g):
    assert on(
        C(3) + torch.tensor(1.0),
        torch.tensor(2.0) * C(3),
        C(3) / 2,
        torch.where(C(3) > 0, C(3), torch.tensor(0.0)),
        torch.where(C(3) > 0, C(3), 1.0),
        C(3).masked_fill(C(3) > 0, torch.tensor(0.0)),
        C(3).clamp(min=torch.tensor(0.0)),
    )


def test_but_not_written_nor_looked_up(g):
    mix(lambda: torch.tensor(1.0).add_(C(1)[0]))
    mix(lambda: torch.ones(3) + C(1)[0])
    mix(lambda: C(3).gather(0, torch.tensor(0)))


def test_views_and_inplace_keep_the_device(g):
    x = C(4, 3)
    y = x[1:, ::2].t().unsqueeze(0).expand(2, -1, -1)
    x += 1
    x[0] = 0.0
    x.zero_()
    assert on(x, y, x.view(-1), x.detach(), x.data, *x.unbind(), *x.chunk(2), x.T, x.mul_(2), x.resize_(2, 2))


def test_dtype_casts_keep_the_device(g):
    x = C(2)
    assert on(
        x.half(),
        x.float(),
        x.to(torch.long),
        x.double(),
        x.bool(),
        x.type_as(C(1).half()),
        x.type(torch.half),
        x.to(torch.float16, True),
    )


def test_to_same_device_is_the_same_tensor(g):
    x = C(2)
    y = torch.ones(2)
    assert x.to("cuda") is x or x.to("cuda").data_ptr() == x.data_ptr()
    assert x.cuda().data_ptr() == x.data_ptr()
    assert (
        y.cpu().data_ptr() == y.data_ptr()
        and x.cpu().data_ptr() != x.data_ptr()
        and x.to("cuda", copy=True).data_ptr() != x.data_ptr()
    )


def test_moves(g):
    x = C(2)
    assert (
        not on(x.cpu())
        and not on(x.to("cpu"))
        and not on(x.to(torch.ones(1)))
        and not on(x.type("torch.FloatTensor"))
        and on(torch.ones(2).type_as(x))
        and not on(x.type_as(torch.ones(1)))
    )
    assert on(torch.ones(2).type("torch.cuda.HalfTensor"))
    assert x.type() == "torch.cuda.FloatTensor"


def test_like_and_new(g):
    x = C(2)
    assert (
        on(
            torch.zeros_like(x),
            x.new_zeros(3),
            x.new(3),
            x.new([1.0]),
            x.new_tensor([1]),
            x.new_full((2,), 1.0),
            torch.rand_like(x),
            x.new_empty(1),
        )
        and not on(torch.zeros_like(x, device="cpu"))
        and not on(x.new_zeros(1, device="cpu"))
        and on(torch.ones(1).new_zeros(1, device="cuda"))
    )


def test_factories_inside_operations(g):
    x = L(0, 1, 2)
    assert on(
        F.one_hot(x),
        x.repeat_interleave(2),
        torch.arange(3, device="cuda").float().cumsum(0),
        F.pad(C(2, 2), (0, 1)),
        torch.argsort(C(3)),
        *C(3).topk(2),
        F.softmax(C(3), 0),
        torch.block_diag(C(2, 2), C(1, 1)),
        torch.nn.functional.cross_entropy(C(2, 3), L(0, 1)),
    )


def test_plain_factories_are_on_the_cpu(g):
    x = C(3)
    mix(lambda: x + torch.arange(3))
    mix(lambda: x * torch.ones(x.shape))
    assert not on(torch.full((2,), x[0].item()))


def test_modules_move(g):
    m = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to("cuda")
    assert on(*m.parameters(), *m.buffers())
    m(C(2, 3))
    m.cpu()
    assert not any(p.is_cuda for p in m.parameters())
    m.cuda().half()
    assert on(*m.parameters())


def test_gradients_are_there(g):
    m = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)).cuda()
    x = L(1, 2, 3)
    a, b = m(x).chunk(2, -1)
    a.sum().backward()
    assert on(*(p.grad for p in m.parameters()))


def test_gradient_of_a_move_goes_back(g):
    w = torch.ones(3, requires_grad=True)
    (w.cuda() * C(3)).sum().backward()
    assert not w.grad.is_cuda
    v = C(3).requires_grad_()
    v.cpu().sum().backward()
    assert on(v.grad)


def test_faults_in_backward_raise(g):
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.ones(grad.shape)

    mix(lambda: Bad.apply(C(3).requires_grad_()).sum().backward())


def test_optimisers(g):
    for options in ({}, {"foreach": True}, {"fused": True}):
        m = nn.Linear(3, 2).cuda()
        o = torch.optim.AdamW(m.parameters(), **options)
        m(C(2, 3)).sum().backward()
        o.step()
        s = o.state[m.weight]
        assert on(s["exp_avg"], s["exp_avg_sq"]) and s["step"].is_cuda == ("fused" in options)
        again = torch.optim.AdamW(m.parameters(), **options)
        again.load_state_dict(o.state_dict())
        again.step()
        assert on(again.state[m.weight]["exp_avg"])


def test_state_dict(g):
    m, n = nn.Linear(3, 2).cuda(), nn.Linear(3, 2).cuda()
    n.load_state_dict({k: v.cpu() for k, v in m.state_dict().items()})
    assert on(*n.parameters(), *m.state_dict().values()) and torch.equal(m.weight, n.weight)


def test_copies_cross(g):
    x = torch.ones(2)
    x.copy_(C(2))
    assert not on(x)
    y = C(2)
    y.copy_(x)
    assert on(y)
    d = copy.deepcopy(nn.Linear(2, 2).cuda())
    assert on(*d.parameters())
    assert on(copy.deepcopy(C(2)))


def test_numpy_is_refused(g):
    raises(TypeError, "can't convert cuda:0 device type tensor to numpy", lambda: C(2).numpy())
    raises(TypeError, "numpy", lambda: np.asarray(C(2)))
    assert C(2).cpu().numpy().shape == (2,) and not torch.from_numpy(np.ones(2)).is_cuda


def test_generators(g):
    raises(RuntimeError, "generator", lambda: torch.rand(2, device="cuda", generator=torch.Generator()))
    raises(RuntimeError, "generator", lambda: C(2).uniform_(generator=torch.Generator()))
    torch.rand(2, generator=torch.Generator())


def test_indexing(g):
    x, i = C(4, 3), torch.tensor([0, 1])
    assert on(x[i], x[[0, 1]], x[i.cuda()], x[x[:, 0] > 0], x[:, None], x[torch.ones(4) > 0])
    raises(RuntimeError, "indices should be either on cpu", lambda: torch.ones(4)[i.cuda()])
    x[i] = 0.0
    x[i.cuda()] = C(2, 3)
    mix(lambda: x.__setitem__(i.cuda(), torch.ones(2, 3)))
    x[0] = torch.ones(3)


def test_packed_weights_are_refused(g):
    raises(NotImplementedError, "CUDA", lambda: torch.ops.mkldnn._reorder_linear_weight(C(3, 3)))
    w = torch.ops.mkldnn._reorder_linear_weight(torch.rand(3, 3))
    raises(
        NotImplementedError, "CUDA", lambda: torch.ops.mkldnn._linear_pointwise(C(2, 3), w, None, "none", [], "none")
    )
    raises(NotImplementedError, "CUDA", lambda: C(2, 2).to_mkldnn())


def test_waits(g):
    def count(f):
        g.reset()
        f()
        return sum(g.waits.values())

    x, one = C(3), C(1)[0]
    for n, f in [
        (1, lambda: x[0].item()),
        (1, lambda: int(one)),
        (1, lambda: bool(one)),
        (1, lambda: x.tolist()),
        (1, lambda: x.nonzero()),
        (1, lambda: x.cpu()),
        (1, lambda: torch.equal(x, x + 1)),
        (1, lambda: x[x > 0]),
        (1, lambda: x.masked_select(x > 0)),
        (1, lambda: torch.ones(3).cuda()),
        (0, lambda: torch.ones(3).cuda(non_blocking=True)),
        (1, lambda: torch.tensor([1, 2], device="cuda")),
        (0, lambda: torch.zeros(3, device="cuda")),
        (0, lambda: x.__setitem__(x > 0, 0.0)),
        (0, lambda: x.__setitem__(slice(0, 2), 0.0)),
        (1, lambda: x[[0, 1]]),
        (0, lambda: x + 1),
        (0, lambda: x + torch.tensor(1.0)),
        (0, lambda: x.to("cuda")),
        (0, lambda: x.argsort()),
        (0, lambda: x.half()),
        (1, lambda: [0, 1, 2][: one.long()]),
        (1, lambda: float(one)),
        (1, lambda: torch.ones(3).copy_(x)),
        (2, lambda: torch.tensor([one, one])),
        (1, lambda: x.to("cpu")),
        (0, lambda: torch.ones(3).tolist()),
        (1, lambda: x.unique()),
    ]:
        assert count(f) == n, (f.__code__.co_firstlineno, n, dict(g.waits))


def test_waits_name_their_line(g):
    g.reset()
    C(1).item()
    assert any("test_device.py" in line and "waits_name_their_line" in line for _, line in g.waits)


def test_autocast(g):
    m = nn.Linear(3, 3).cuda()
    with torch.autocast("cuda"):
        y = m(C(2, 3))
        assert (
            y.dtype == torch.half
            and F.layer_norm(y, (3,)).dtype == torch.float32
            and (y @ y.t()).dtype == torch.half
            and F.softmax(y, -1).dtype == torch.float32
            and F.gelu(y).dtype == torch.half
        )
    assert m(C(2, 3)).dtype == torch.float32


def test_grad_scaler(g):
    m = nn.Linear(3, 1).cuda()
    o = torch.optim.SGD(m.parameters(), 0.1)
    s = torch.amp.GradScaler("cuda")
    loss = m(C(2, 3)).sum()
    s.scale(loss).backward()
    s.unscale_(o)
    assert on(m.weight.grad, s._scale)
    s.step(o)
    s.update()


def test_checkpointing(g):
    from torch.utils.checkpoint import checkpoint

    m = nn.Linear(3, 3).cuda()
    checkpoint(m, C(2, 3).requires_grad_(), use_reentrant=False).sum().backward()
    assert on(m.weight.grad)
    checkpoint(m, C(2, 3).requires_grad_(), use_reentrant=True).sum().backward()


def test_flex(g):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    bias, q = C(5, 5).requires_grad_(), C(1, 2, 5, 16).requires_grad_()
    block = create_block_mask(lambda b, h, i, j: i >= j, 1, None, 5, 5, device="cuda:0")
    out = torch.compile(flex_attention)(q, q, q, score_mod=lambda s, b, h, i, j: s + bias[i, j], block_mask=block)
    out.sum().backward()
    assert on(out, q.grad, bias.grad)
    want = F.scaled_dot_product_attention(
        q, q, q, torch.where(torch.ones(5, 5, device="cuda").tril() > 0, bias, -torch.inf)
    )
    torch.testing.assert_close(out, want)
    raises(
        (RuntimeError, ValueError),
        "device",
        lambda: flex_attention(
            q, q, q, block_mask=create_block_mask(lambda b, h, i, j: i >= j, 1, None, 5, 5, device="cpu")
        ),
    )


def test_flex_attention_needs_16_dimensions(g):
    q = C(1, 2, 5, 8)
    raises(NotImplementedError, "at least 16", lambda: torch.nn.attention.flex_attention.flex_attention(q, q, q))


def test_memory_is_not_mistaken(g):
    for _ in range(300):
        C(1000)
        t = torch.ones(1000)
        assert not t.is_cuda
        del t


def test_empty_copies_do_not_wait(g):
    g.reset()
    x = C(3)
    torch.zeros(0).cuda()
    x[[]] = 0.0
    assert sum(g.waits.values()) <= 1


def test_threads_that_load_data_do_not_disturb_backward(g):
    loads, done = threading.Event(), threading.Event()

    def load():
        with g.bracket(False):  # as torch.tensor does
            loads.set()
            done.wait(10)

    def meanwhile(grad):
        loader.start()
        loads.wait(10)

    loader = threading.Thread(target=load)
    x = C(4, 3).requires_grad_()
    rows = x.index_select(0, L(0, 2))
    rows.register_hook(meanwhile)
    rows.sum().backward()
    done.set()
    loader.join()
    assert on(x.grad)
