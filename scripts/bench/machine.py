"""The machine that a benchmark ran on, and what it can do at best."""

import importlib.metadata
import os
import platform
import resource
import sys
import time
from pathlib import Path

import torch


def add_device_argument(parser, where: str) -> None:
    """``--device``; the text says what it is of."""
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help=where)


def add_device_arguments(parser, where: str, of_what: str) -> None:
    """``--device`` and ``--dtype``; the texts say what they are of."""
    add_device_argument(parser, where)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help=of_what)


def describe(device: str = "cpu") -> dict:
    """Processor, cores, threads and versions, for a reader who wants to compare."""
    versions = {}
    for package in ("torch", "fairseq-fixed", "fairseq", "ctranslate2", "bang_plugin"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def processor() -> str:
    """Its name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def synchronize(device: str) -> None:
    """Wait until the accelerator has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_rate(device: str = "cpu", dtype: torch.dtype = torch.float32, size: int = 2048, seconds: float = 1.0):
    """Floating-point operations per second of a large square matrix product: the best of several tries."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        synchronize(device)
        start = time.perf_counter()
        a @ b
        synchronize(device)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return 2 * size**3 / best


def reset_peak(device: str = "cpu") -> None:
    """Forget earlier peaks, where the system lets us (accelerators and Linux)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: str = "cpu") -> int:
    """Most memory that this process has held: allocated on the accelerator, or resident in main memory."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":
        # not ru_maxrss, which a process inherits from the one that started it
        return _status("VmHWM")
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_bytes(device: str = "cpu") -> int:
    """Memory held now; on systems that do not tell, the peak."""
    if device == "cuda":
        return torch.cuda.memory_allocated()
    return _status("VmRSS") if sys.platform == "linux" else peak_bytes()


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status does not tell {name}")
