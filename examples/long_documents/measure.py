"""What long sources cost: time and memory of a training step, for the whole attention and for chunks.

    python -m examples.long_documents.measure FOLDER [--lengths 512 1024 …]

Writes ``costs.json``, ``costs.md`` and ``costs.png`` into the folder. Each point runs in a process of its own, so that
its peak memory is its own. "Chunks" is the model of ``bang_chunked``, whose encoder reads 512 tokens at a time.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch
from fairseq.data import Dictionary
from tqdm import tqdm

from bang_plugin.evaluation.files import write_whole
from bang_plugin.evaluation.tables import print_table
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.tasks.bang import BangConfig, BangTask

from ..workspace import write_text
from .bang_chunked import BangChunked, BangChunkedConfig
from .plot import plot_costs

CHUNK = 512
MODELS = {"whole": (BangModel, BangModelConfig), "chunks": (BangChunked, BangChunkedConfig)}
SIZES = {"layers": 3, "embed_dim": 192, "ffn_embed_dim": 768, "attention_heads": 4}


def build(length: int, encoder: str, **options) -> BangModel:
    """A model of the sizes of ``bang_tiny`` with random parameters, for sources of up to ``length`` tokens."""
    dictionary = Dictionary()
    for i in range(1000):
        dictionary.add_symbol(f"word{i}")
    model, config = MODELS[encoder]
    cfg = config(max_source_positions=length, max_target_positions=64, **options)
    for name, value in SIZES.items():
        setattr(cfg, f"encoder_{name}", value)
        setattr(cfg, f"decoder_{name}", value)
    task = BangTask(BangConfig(data="", max_source_positions=length, max_target_positions=64), dictionary, dictionary)
    return model.build_model(cfg, task).train()


def training_step(model: BangModel, source: torch.Tensor, target: torch.Tensor) -> None:
    """Forward and backward: source ``(batch, length)``, decoder input ``(batch, tgt_len)``."""
    memory = model.encoder(source, src_lengths=source.new_full((len(source),), source.size(1)))
    logits, _ = model.decoder(target, memory)
    model.zero_grad()
    logits.float().logsumexp(-1).sum().backward()


def measure(length: int, encoder: str, batch: int, repeats: int) -> dict:
    """Cost of a step in a fresh process: median seconds (of CPU time, without a GPU), and memory beyond the model."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {} if encoder == "whole" else {"source_chunk": CHUNK}
    model = build(length, encoder, **options).to(device)
    source, target = (torch.randint(4, 1000, (batch, n), device=device) for n in (length, 32))
    training_step(model, source[:, :8], target)  # gradients' own memory, and warming up
    before, seconds = memory(device), []
    for _ in range(repeats):
        start = clock(device)
        training_step(model, source, target)
        seconds.append(clock(device) - start)
    return {
        "encoder": "whole" if encoder == "whole" else f"chunks of {CHUNK}",
        "length": length,
        "seconds": median(seconds),
        "memory (MB)": memory(device) - before,
    }


def clock(device: str) -> float:
    """Seconds; on a CPU those that this process computed, whatever else runs on the machine."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def memory(device: str) -> float:
    """Peak so far, in megabytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--batch", type=int, default=2, help="documents per step")
    parser.add_argument("--repeats", type=int, default=3, help="steps, of which the median counts")
    parser.add_argument("--one", metavar="ENCODER", choices=["whole", "chunks"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.lengths[0], args.one, args.batch, args.repeats)))
        return
    rows = []
    cases = [(encoder, length) for encoder in ("whole", "chunks") for length in args.lengths]
    for encoder, length in tqdm(cases, unit="case"):
        case = ["--one", encoder, "--lengths", length, "--batch", args.batch, "--repeats", args.repeats]
        command = [sys.executable, "-W", "ignore", "-m", __spec__.name, args.folder, *case]
        run = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(f"error: {length} tokens, {encoder}: the measuring process failed (exit status {run.returncode})")
        rows.append(json.loads(run.stdout.splitlines()[-1]))
    write_text(args.folder / "costs.md", print_table(rows))
    write_text(args.folder / "costs.json", json.dumps(rows, indent=1))
    write_whole(args.folder / "costs.png", partial(plot_costs, rows))


if __name__ == "__main__":
    main()
