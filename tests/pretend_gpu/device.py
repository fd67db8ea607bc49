"""Run ordinary code on the CPU while PRETENDING that a device 'cuda:0' exists; report what a real GPU would refuse.

    with PretendGPU() as gpu:          # raises where a real GPU would; stop=False: notes it and goes on
        model.cuda(); model(batch)     # real CPU arithmetic
    gpu.faults, gpu.waits, gpu.kernels, print(*gpu.report(per=passes), sep="\n")

A tensor is "on the GPU" if its storage is tagged, so that views, parameters, .data and in-place results need no care.
1. Attributes of torch.Tensor, torch and torch.cuda (.device, .to, .cpu, .numpy, …) answer for Python and move tensors.
2. A TorchFunctionMode brackets every torch call, so that factories which C++ calls inside an operation on GPU tensors
   (it believes them to be on the CPU) are tagged too; it also plays CUDA's autocast.
3. A TorchDispatchMode checks the devices of every aten operation, those of backward passes included, tags results and
   counts waits for the GPU (host-device synchronisations) by line.
Not seen: kernels and what they support (but FlexAttention's smallest head), numerics, memory, streams, other threads,
waits hidden inside kernels, TorchScript and C++ asking for a device.
"""

import collections
import contextlib
import sys
import threading
import types
from pathlib import Path

import fairseq  # noqa: F401  (before anything is patched: it hands functions to torch.jit.script)
import torch
import torch._dynamo  # looks through torch once, which it has to do before torch is patched
import torch.nn.attention.flex_attention as flex
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import bang_plugin

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
Base, no_modes = torch._C.TensorBase, torch._C.DisableTorchFunction
hop = sys.modules["torch._higher_order_ops.flex_attention"]
TORCH = str(Path(torch.__file__).parent)

# take no 0-dim CPU tensor along with GPU tensors, as elementwise operations do
STRICT = set(
    """gather scatter scatter_ scatter_add scatter_add_ scatter_reduce index_select index_add index_add_ index_copy
    index_fill embedding embedding_dense_backward mm bmm addmm addmm_ baddbmm baddbmm_ addbmm addmv mv dot cat stack
    take linear masked_scatter masked_scatter_ native_layer_norm _fused_adam_ _fused_adamw_ _fused_sgd_
    _amp_update_scale_ _amp_foreach_non_finite_check_and_unscale_""".split()
)
WAIT = set(
    """_local_scalar_dense nonzero masked_select equal _unique _unique2 unique_consecutive unique_dim bincount
    multinomial""".split()
)
INDEX = set("index index_put index_put_ _index_put_impl_ _unsafe_index _unsafe_index_put".split())
CPU_ONLY = {"mkldnn", "mkl", "onednn", "quantized"}  # namespaces
NO_KERNEL = set("empty empty_like empty_strided new_empty _unsafe_view _local_scalar_dense".split())
FACTORY = set(
    "zeros ones empty full rand randn randint randperm arange linspace eye scalar_tensor empty_strided".split()
)
# CUDA's autocast: in half precision, and in float32
HALF = set(
    """linear matmul __matmul__ __rmatmul__ mm bmm addmm baddbmm addbmm addmv mv einsum conv1d conv2d prelu
    scaled_dot_product_attention""".split()
)
FULL = set(
    """softmax log_softmax layer_norm cumsum cumprod sum prod exp expm1 log log1p log2 log10 pow __pow__ rsqrt
    reciprocal norm logsumexp nll_loss cross_entropy mse_loss kl_div cosine_similarity softplus""".split()
)


def tensors(x):
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, (list, tuple, dict)):
        for part in x.values() if isinstance(x, dict) else x:
            yield from tensors(part)


def is_gpu(device):
    return isinstance(device, int) or torch.device(device).type == "cuda"


def storage(t):
    """None if it has none (mkldnn's packed weights): that is on the CPU."""
    with no_modes():
        while torch._C._functorch.is_functorch_wrapped_tensor(t):
            t = torch._C._functorch.get_unwrapped(t)
        try:
            return t.untyped_storage()
        except (RuntimeError, NotImplementedError):
            return None


class Tags:
    """Which storages are on the GPU. A weak reference keeps a dead storage's address from being used again."""

    def __init__(self):
        self.held, self.limit = {}, 10000

    def __contains__(self, t):
        s = storage(t)
        return s is not None and s._cdata in self.held

    def add(self, t):
        s = storage(t)
        if s is not None and s._cdata not in self.held:
            self.held[s._cdata] = StorageWeakRef(s)
            if len(self.held) > self.limit:
                self.held = {key: held for key, held in self.held.items() if not held.expired()}
                self.limit = 10000 + 2 * len(self.held)


class Inside(threading.local):
    """Where each call that Python is in makes new tensors, by thread: one that loads data makes its own on the CPU."""

    def __init__(self):
        self.calls = [None]


class Dispatch(TorchDispatchMode):
    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        gpu, kwargs, schema = self.gpu, dict(kwargs or {}), func._schema
        space, _, name = schema.name.partition("::")
        given = [*zip(schema.arguments, args), *((a, kwargs[a.name]) for a in schema.arguments if a.name in kwargs)]
        inputs = [(a, t, t in gpu.tags) for a, value in given for t in tensors(value)]
        mixed = here = any(on for _, _, on in inputs)
        if mixed:
            self.check(space, name, args, kwargs, inputs)
        if any(a.name == "device" for a in schema.arguments):
            if gpu.inside.calls[-1] is not None:  # what the call from Python said, or else where its tensors are
                here = gpu.inside.calls[-1]
            if kwargs.get("device") is not None and kwargs["device"].type == "cuda":
                kwargs["device"], here = CPU, True
        if here and any(isinstance(value, torch._C.Generator) for _, value in given):
            gpu.fault("Expected a 'cuda' device type for generator but found 'cpu'")
        view = any(r.alias_info and not r.alias_info.is_write for r in schema.returns)
        if name == "zeros_and_scatter":  # FlexAttention's gradient, which asks for the device inside the operation
            func = lambda shape, *rest: torch.ops.aten.index_put(rest[1].new_zeros(shape), *rest, True)  # noqa: E731
        out = func(*args, **kwargs)
        if here:
            if not view and name not in NO_KERNEL:
                gpu.kernels[name, str(inputs[0][1].dtype) if inputs else "-"] += 1
            on_cpu = {s._cdata for s in (storage(t) for _, t, on in inputs if not on) if s is not None}
            for t in tensors(out):
                if storage(t) is not None and storage(t)._cdata not in on_cpu:  # what came back as it was stays there
                    gpu.tags.add(t)
        return out

    def check(self, space, name, args, kwargs, inputs):
        gpu = self.gpu
        if name == "copy_":
            (_, _, to_gpu), (_, _, from_gpu) = inputs[:2]
            if from_gpu and not to_gpu:
                gpu.wait("copy to CPU")
            elif to_gpu and not from_gpu and inputs[1][1].numel() and not (len(args) > 2 and args[2]):
                gpu.wait("copy to GPU")
            return
        if space in CPU_ONLY or name == "to_mkldnn":
            gpu.fault(f"Could not run '{space}::{name}' with arguments from the 'CUDA' backend", NotImplementedError)
        indices = [(t, on) for a, t, on in inputs if a.name == "indices"] if name in INDEX else []
        others = [(a, t, on) for a, t, on in inputs if not indices or a.name != "indices"]
        if indices and not others[0][2] and any(on for _, on in indices):
            gpu.fault("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        for a, t, on in others:
            if not on and (t.dim() > 0 or name in STRICT or a.alias_info is not None and a.alias_info.is_write):
                gpu.fault(
                    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                    f"({space}::{name}, argument {a.name} of shape {tuple(t.shape)})"
                )
        if name in WAIT or name == "repeat_interleave" and kwargs.get("output_size") is None:
            gpu.wait({"_local_scalar_dense": "item"}.get(name, name))
        if name in ("masked_fill", "masked_fill_") and any(a.name == "value" and on for a, _, on in others):
            gpu.wait("item")
        if indices:
            masks = [t.dtype in (torch.bool, torch.uint8) for t, _ in indices]
            number = len(others) > 1 and not others[1][2]
            if any(masks) and not (number and all(masks)):  # with a number it is a masked_fill
                gpu.wait("mask as index")
            elif not any(masks) and (number or any(t.numel() and not on for t, on in indices)):
                gpu.wait("copy to GPU")  # of the number, or of the index


class Function(TorchFunctionMode):
    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func, types, args=(), kwargs=None):
        gpu, kwargs, name = self.gpu, kwargs or {}, getattr(func, "__name__", "")
        if name in ("__get__", "untyped_storage", "dim", "size"):
            return func(*args, **kwargs)
        here, device = any(t in gpu.tags for t in tensors([*args, kwargs])), kwargs.get("device")
        if here and torch.is_autocast_enabled("cuda") and name in HALF | FULL and kwargs.get("dtype") is None:
            dtype = torch.get_autocast_dtype("cuda") if name in HALF else torch.float32
            cast = lambda v: v.to(dtype) if isinstance(v, torch.Tensor) and v.is_floating_point() else v  # noqa: E731
            args, kwargs = [cast(v) for v in args], {key: cast(v) for key, v in kwargs.items()}
        if isinstance(device, int):
            kwargs = {**kwargs, "device": GPU}
        with gpu.bracket(here and name not in FACTORY if device is None else is_gpu(device)):
            out = func(*args, **kwargs)
        if here and name in ("new", "new_tensor", "__deepcopy__") and device is None:
            gpu.tags.add(out)
        return out


class Move(torch.autograd.Function):
    """A copy to or on a device, whose gradient goes back."""

    @staticmethod
    def forward(ctx, gpu, t, to_gpu, dtype, non_blocking, memory_format):
        ctx.back = gpu, t in gpu.tags, t.dtype
        if to_gpu != (t in gpu.tags) and t.numel() and not (to_gpu and non_blocking):
            gpu.wait("copy to GPU" if to_gpu else "copy to CPU")
        with no_modes(), gpu.bracket(to_gpu):
            return Base.to(t, CPU, dtype, False, True, memory_format=memory_format or torch.preserve_format)

    @staticmethod
    def backward(ctx, grad):
        gpu, to_gpu, dtype = ctx.back
        return None, Move.apply(gpu, grad, to_gpu, dtype, True, None), None, None, None, None


class PretendGPU:
    """Attributes: faults (message, line), waits Counter of (kind, line), kernels Counter of (operation, dtype)."""

    def __init__(self, stop=True, product=str(Path(bang_plugin.__file__).parent)):
        self.tags, self.inside, self.stop, self.product = Tags(), Inside(), stop, product
        self.faults = []
        self.reset()

    def reset(self):
        self.waits, self.kernels = collections.Counter(), collections.Counter()

    @contextlib.contextmanager
    def bracket(self, here):
        self.inside.calls.append(here)
        try:
            yield
        finally:
            self.inside.calls.pop()

    def line(self):
        """The innermost line outside torch; if that is not the product's, also the product's line that led there."""
        frame, found = sys._getframe(1), []
        while frame is not None:
            file = frame.f_code.co_filename
            if not (file.startswith((TORCH, "<")) or file == __file__ or "contextlib" in file):
                found.append(f"{'/'.join(file.split('/')[-2:])}:{frame.f_lineno} {frame.f_code.co_name}")
                if file.startswith(self.product):
                    return " <- ".join([*found[:1], *found[1:][-1:]])
            frame = frame.f_back
        return found[0] if found else "?"

    def wait(self, kind):
        self.waits[kind, self.line()] += 1

    def fault(self, message, kind=RuntimeError):
        self.faults.append((message, self.line()))
        if self.stop:
            raise kind(f"{message} [pretended GPU, {self.line()}]")

    def report(self, per=1):
        return [f"{n / per:7.2f}  {kind:14s} {line}" for (kind, line), n in self.waits.most_common()]

    def __enter__(self):
        self.saved = []
        for owner, replacements in patches(self):
            for name, new in replacements.items():
                self.saved.append((owner, name, vars(owner).get(name, self)))
                setattr(owner, name, new)
        self.stack = contextlib.ExitStack()
        self.function = self.stack.enter_context(Function(self))
        self.stack.enter_context(Dispatch(self))
        return self

    def __exit__(self, *error):
        self.stack.close()
        for owner, name, old in reversed(self.saved):
            delattr(owner, name) if old is self else setattr(owner, name, old)


def patches(gpu):
    """(owner, {name: replacement}): all that Python asks about devices."""
    tags, make, convert = gpu.tags, torch.tensor, torch.as_tensor

    def move(t, device=None, dtype=None, non_blocking=False, copy=False, memory_format=None):
        to_gpu = t in tags if device is None else is_gpu(device)
        if to_gpu == (t in tags) and not copy:
            with no_modes(), gpu.bracket(to_gpu):
                return Base.to(t, dtype or t.dtype, memory_format=memory_format or torch.preserve_format)
        return Move.apply(gpu, t, to_gpu, dtype or t.dtype, non_blocking, memory_format)

    def to(t, *args, copy=False, other=None, **kwargs):
        if args and isinstance(args[0], torch.Tensor):
            other, args = args[0], args[1:]
        if other is not None:
            return move(t, other.device, other.dtype, *args, copy=copy, **kwargs)
        if len(args) > 1 and isinstance(args[-1], bool) and isinstance(args[-2], bool):
            args, copy = args[:-1], args[-1]
        number = lambda v: GPU if isinstance(v, int) and not isinstance(v, bool) else v  # noqa: E731
        args, kwargs = [number(v) for v in args], {key: number(v) for key, v in kwargs.items()}
        return move(t, *torch._C._nn._parse_to(*args, **kwargs)[:3], copy, kwargs.get("memory_format"))

    def kind(t, dtype=None, non_blocking=False):
        with no_modes():
            if dtype is None:
                return Base.type(t).replace("torch.", "torch.cuda." if t in tags else "torch.")
            if isinstance(dtype, torch.dtype):
                return move(t, None, dtype)
            name = dtype if isinstance(dtype, str) else f"{dtype.__module__}.{dtype.__name__}"
            plain = Base.type(torch.empty(0), name.replace("cuda.", "")).dtype
        return move(t, "cuda" if ".cuda." in name else "cpu", plain, non_blocking)

    def numpy(t, *args, **kwargs):
        if t in tags:
            gpu.faults.append(("numpy() of a GPU tensor", gpu.line()))
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
                f"first. [pretended GPU, {gpu.line()}]"
            )
        with no_modes():
            return Base.numpy(t, *args, **kwargs)

    def tolist(t):
        if t in tags:
            gpu.wait("tolist")
        with no_modes():
            return Base.tolist(t)

    def tensor(data, *, device=None, requires_grad=False, **kwargs):
        if isinstance(data, torch.Tensor):
            return move(data.detach(), device, kwargs.get("dtype"), copy=True).requires_grad_(requires_grad)
        for _ in (t for t in tensors(data) if t in tags):
            gpu.wait("item")
        with no_modes(), gpu.bracket(False):
            out = make(data, **kwargs)
        return (out if device is None else move(out, device)).requires_grad_(requires_grad)

    def as_tensor(data, dtype=None, device=None):
        if not isinstance(data, torch.Tensor):
            data = convert(data, dtype=dtype)
        return move(data, device, dtype)

    def engine(outputs, *args, run=torch.autograd._engine_run_backward, **kwargs):
        # the call of backward() has put the function mode aside, which the Python in backward passes needs
        with gpu.bracket(any(t in tags for t in tensors(outputs))), gpu.function:
            return run(outputs, *args, **kwargs)

    def by_device(lists, with_indices=False, group=torch._C._group_tensors_by_device_and_dtype):
        on = lambda part: any(t is not None and t in tags for t in tensors(part[0][0]))  # noqa: E731
        return {(GPU if on(v) else d, dtype): v for (d, dtype), v in group(lists, with_indices).items()}

    def attention(*args):
        if min(args[0].size(-1), args[2].size(-1)) < 16:
            gpu.fault("NYI: embedding dimension of the query, key, and value must be at least 16", NotImplementedError)
        counted = gpu.waits.copy(), gpu.kernels.copy()
        out = hop.math_attention(*args)
        gpu.waits, gpu.kernels = counted  # in truth it is one kernel
        gpu.kernels["flex_attention", str(args[0].dtype)] += 1
        return out

    def nothing(*args, **kwargs):
        pass

    def constant(value, names):
        return {name: lambda *args, **kwargs: value for name in names.split()}

    stream = type("Stream", (), {"__init__": nothing, "__getattr__": lambda self, name: nothing})
    card = types.SimpleNamespace(name="pretended GPU", major=8, minor=0, total_memory=2**34, multi_processor_count=1)
    cuda = constant(
        None,
        "_lazy_init init set_device synchronize empty_cache manual_seed manual_seed_all set_rng_state "
        "set_rng_state_all reset_peak_memory_stats reset_max_memory_allocated set_stream ipc_collect",
    )
    cuda |= constant(
        0,
        "current_device memory_allocated max_memory_allocated memory_reserved max_memory_reserved "
        "_exchange_device _maybe_exchange_device",
    )
    cuda |= constant(True, "is_available is_initialized is_bf16_supported") | constant(1, "device_count")
    cuda |= constant(card, "get_device_properties") | constant(card.name, "get_device_name memory_summary")
    cuda |= constant((card.major, card.minor), "get_device_capability") | constant([], "get_rng_state_all")
    cuda |= constant(torch.zeros(0, dtype=torch.uint8), "get_rng_state") | constant(
        False, "is_current_stream_capturing"
    )
    cuda |= constant(stream(), "current_stream default_stream") | {"Stream": stream, "Event": stream}
    cuda |= constant(contextlib.nullcontext(), "stream")
    return [
        (
            torch.Tensor,
            {
                "device": property(lambda t: GPU if t in tags else Base.device.__get__(t)),
                "is_cuda": property(lambda t: t in tags),
                "is_cpu": property(lambda t: t not in tags and Base.is_cpu.__get__(t)),
                "get_device": lambda t: 0 if t in tags else -1,
                "cuda": lambda t, device=None, non_blocking=False, memory_format=None: move(
                    t, "cuda", None, non_blocking
                ),
                "cpu": lambda t, memory_format=None: move(t, "cpu"),
                "type_as": lambda t, other: move(t, other.device, other.dtype),
                "pin_memory": lambda t, device=None: t,
                "to": to,
                "type": kind,
                "numpy": numpy,
                "tolist": tolist,
            },
        ),
        (torch, {"tensor": tensor, "as_tensor": as_tensor, "compile": lambda f=None, **o: f or (lambda g: g)}),
        (torch.autograd, {"_engine_run_backward": engine}),
        (torch._C, {"_group_tensors_by_device_and_dtype": by_device}),
        (flex, {"flex_attention_hop": attention}),
        (torch.cuda, cuda),
    ]
