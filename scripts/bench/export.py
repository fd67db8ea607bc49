"""``export``: a model's ONNX graphs in onnxruntime against the model in torch: logits, tokens, time and size.

Both write the same sentences with one thread, in turn. The loop in NumPy is the one that is exported.
"""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch

from bang_plugin.decoding.session import Session
from bang_plugin.export import onnx_files, source, tensors
from bang_plugin.export.decode import Writer
from scripts.measure import Mode, Workbench

from .decode import agreement
from .machine import describe
from .output import Output
from .timing import interleave

KINDS = {"float32": "", "int8": "int8"}


def add_arguments(parser) -> None:
    parser.add_argument("model", help="folder with the checkpoint")
    parser.add_argument("data", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--checkpoint-file", default="checkpoint_last.pt", help="name of the checkpoint in it")
    parser.add_argument("--split", default="test", help="part of the data")
    parser.add_argument("--sentences", type=int, help="only the first so many")
    parser.add_argument("--batch-size", type=int, default=32, help="of sentences of similar length")
    parser.add_argument("--alone", type=int, default=100, help="sentences that are timed one at a time")
    parser.add_argument("--block-size", type=int, default=4, help="of the block modes")
    parser.add_argument("--tolerance", type=float, default=1.0, help="of adaptive")
    parser.add_argument("--max-len-b", type=int, default=40, help="longest output")


def modes(args) -> dict[str, tuple[Mode, dict]]:
    """Each mode for the package, and the options of the exported loop."""
    limits, block = {"beam": 1, "max_len_b": args.max_len_b}, {"block_size": args.block_size}
    tasks = {
        "ar": {},
        "nar": {"nar_chunk": 32},
        "semi_nar": block,
        "adaptive": {**block, "tolerance": args.tolerance},
        "speculative": block,
    }
    loop = {"block": args.block_size, "tolerance": args.tolerance, "max_len": args.max_len_b}
    return {
        name: (Mode(name, {"decoding": name, **task}, limits), {"mode": name, **loop}) for name, task in tasks.items()
    }


def run(args) -> Output:
    """Export, compare, print and save."""
    if args.quick:
        args.sentences, args.alone = 8, 3
    torch.set_num_threads(1)
    found = source.load(args.model, args.checkpoint_file, args.data)
    bench = Workbench(str(Path(args.model) / args.checkpoint_file), args.data, args.split, args.sentences)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    out = Output(args.folder, "export", {**describe(), "onnxruntime": onnxruntime.__version__}, settings)
    with tempfile.TemporaryDirectory() as folder:
        graphs, plain = Path(folder, "onnx"), Path(folder, "safetensors")
        graphs.mkdir()
        plain.mkdir()
        onnx_files.write(found, graphs, "int8")
        tensors.write(found, plain)
        out.table("Files", sizes(Path(args.model) / args.checkpoint_file, plain, graphs))
        writers = {name: Writer(graphs, kind) for name, kind in KINDS.items()}
        batches = [source_ids(batch, writers["float32"].pad) for batch in bench.batches(args.batch_size)]
        for name, greatest in differences(found.model, writers, batches).items():
            out.fact(f"{name}: greatest difference of a logit", greatest)
        out.table(f"{bench.size} sentences", compare(bench, writers, args))
    out.save()
    return out


def sizes(checkpoint: Path, plain: Path, graphs: Path) -> list[dict]:
    """Megabytes of the files that are loaded to write; in a checkpoint those of the optimizer count too."""
    kinds = {
        checkpoint.name: [checkpoint],
        "model.safetensors": [plain / "model.safetensors"],
        "nar.onnx": [graphs / "nar.onnx"],
        "encoder.onnx, step.onnx": [graphs / "encoder.onnx", graphs / "step.onnx"],
        "nar.int8.onnx": [graphs / "nar.int8.onnx"],
        "encoder.int8.onnx, step.int8.onnx": [graphs / "encoder.int8.onnx", graphs / "step.int8.onnx"],
    }
    return [{"file": name, "MB": sum(f.stat().st_size for f in files) / 1e6} for name, files in kinds.items()]


def source_ids(batch: dict, pad: int) -> list[list[int]]:
    """The sources of a batch, without padding."""
    return [[token for token in row if token != pad] for row in batch["net_input"]["src_tokens"].tolist()]


@torch.no_grad()
def differences(model, writers: dict, batches: list) -> dict[str, float]:
    """Of NAR's first 32 tokens, and of stream 1's after each token of AR's own answers, read in two steps."""
    greatest = {f"{graph}.onnx, {name}": 0.0 for graph in ("nar", "step") for name in writers}
    exact = writers["float32"]
    for sources in batches:
        longest = max(map(len, sources))
        src_tokens = np.array([[*tokens, *[exact.pad] * (longest - len(tokens))] for tokens in sources])
        answers = exact.write(sources, "ar")
        length = max(map(len, answers))
        prefix = np.array([[exact.eos, *a[:-1], *[exact.eos] * (length - len(a))] for a in answers])
        real = np.arange(length) < np.array([[len(a)] for a in answers])
        session = Session([model], {"src_tokens": torch.from_numpy(src_tokens)})
        session.start_chain(exact.eos)
        wanted_nar = session.grow_chain(32)[0].numpy()
        session = Session([model], {"src_tokens": torch.from_numpy(src_tokens)})
        wanted_step = session.chains(torch.from_numpy(prefix), 1, verify=True)[0].numpy()[real]
        for name, writer in writers.items():
            nar = writer.run("nar", src_tokens=src_tokens, elements=np.arange(1, 33))[0]
            step = in_two_steps(writer, src_tokens, prefix)[real]
            for graph, found, wanted in (("nar", nar, wanted_nar), ("step", step, wanted_step)):
                key = f"{graph}.onnx, {name}"
                greatest[key] = max(greatest[key], float(np.abs(found - wanted).max()))
    return greatest


def in_two_steps(writer: Writer, src_tokens: np.ndarray, prefix: np.ndarray) -> np.ndarray:
    """Logits of one mask behind each token, where the second half of the tokens is read in a step of its own."""
    memory = dict(zip(("cross_keys", "cross_values", "source_mask"), writer.run("encoder", src_tokens=src_tokens)))
    bsz, layers, heads, _, dim = memory["cross_keys"].shape
    cache, logits = [np.zeros((bsz, layers, heads, 0, dim), np.float32)] * 2, []
    half = prefix.shape[1] // 2
    for read, tokens in ((0, prefix[:, :half]), (half, prefix[:, half:])):
        anchor = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape).copy()
        state = {"keys": cache[0], "values": cache[1], "lengths": np.full(bsz, read)}
        step = {"tokens": tokens, "anchor": anchor, "element": np.ones_like(anchor)}
        found, *added = writer.run("step", **memory, **state, **step)
        cache = [np.concatenate(parts, axis=3) for parts in zip(cache, added)]
        logits.append(found)
    return np.concatenate(logits, axis=1)


def compare(bench: Workbench, writers: dict, args) -> list[dict]:
    """For each mode what the package and the loop write, and how long they take."""
    dictionary, rows = bench.task.target_dictionary, []
    batches, singles = bench.batches(args.batch_size), list(bench.alone(args.alone))
    for name, (mode, options) in modes(args).items():
        generator = bench.generator(mode)
        ours = {i: h["tokens"].tolist() for i, h in bench.write(generator, batches).items()}
        runs = {"torch": partial(_write_with_package, bench, generator)}
        written = {"torch": ours}
        for kind, writer in writers.items():
            runs[f"onnxruntime {kind}"] = one = partial(_write_with_loop, writer, options)
            written[f"onnxruntime {kind}"] = {
                i: tokens for batch in batches for i, tokens in zip(batch["id"].tolist(), one(batch))
            }
        alone = {kind: [] for kind in runs}
        for single in singles:
            for kind, timing in interleave({k: partial(r, single) for k, r in runs.items()}, 1).items():
                alone[kind].append(1000 * timing.median)
        together = interleave({k: partial(_all, r, batches) for k, r in runs.items()}, 3)
        texts = {kind: [dictionary.string(t[i]) for i in range(bench.size)] for kind, t in written.items()}
        for kind, tokens in written.items():
            rows.append(
                {
                    "decoding": name,
                    "by": kind,
                    "sentences as torch": sum(tokens[i] == ours[i] for i in ours),
                    "tokens as torch (%)": 100 * agreement(texts[kind], texts["torch"]),
                    "ms, batch 1": median(alone[kind]),
                    f"sentences / s, batches of {args.batch_size}": bench.size / together[kind].median,
                    "give or take (%)": 100 * together[kind].spread,
                }
            )
    return rows


def _write_with_package(bench: Workbench, generator, batch: dict) -> None:
    bench.task.inference_step(generator, bench.models, batch)


def _write_with_loop(writer: Writer, options: dict, batch: dict) -> list[list[int]]:
    return writer.write(source_ids(batch, writer.pad), **options)


def _all(write, batches: list) -> None:
    for batch in batches:
        write(batch)
