"""Write with the exported graphs beside this file: NumPy and onnxruntime, without torch or fairseq.

    python decode.py nar < text > answers         (or ar, semi_nar, adaptive, speculative; a second word: int8)

Lines are symbols with blanks between them, as `bang tokenise encode` writes them and `bang tokenise decode` reads them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

MODES = ("ar", "nar", "semi_nar", "adaptive", "speculative")


class Writer:
    """The graphs of a folder in float32, or of another `kind`, int8."""

    def __init__(self, folder: Path, kind: str = "", threads: int = 1):
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.pad, self.eos = self.config["pad"], self.config["eos"]
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.graphs: dict[str, Any] = {}
        self.files = {name: str(folder / f"{name}{kind and '.'}{kind}.onnx") for name in ("nar", "encoder", "step")}
        self.passes = 0  # of the decoder so far

    def run(self, graph: str, **inputs: Any) -> Any:
        """All outputs of a graph, which is loaded when it is first needed."""
        if graph not in self.graphs:
            if not Path(self.files[graph]).exists():
                raise ValueError(f"{self.files[graph]}: not there; was it exported?")
            self.graphs[graph] = onnxruntime.InferenceSession(self.files[graph], self.options)
        self.passes += graph != "encoder"
        return self.graphs[graph].run(None, inputs)

    def choose(self, logits: Any, place: Any, max_len: int, min_len: int) -> Any:
        """Most probable tokens of an answer's places: no padding, no end before `min_len`, the end at `max_len`."""
        logits[..., self.pad] = -np.inf
        logits[..., self.eos][place < min_len] = -np.inf
        return np.where(place >= max_len, self.eos, logits.argmax(-1))

    def check(self, source: Any, where: str = "") -> None:
        """Raise a ValueError for a source that is too long."""
        if len(source) > self.config["max_source"]:
            raise ValueError(f"{where}{len(source)} tokens, but the model takes {self.config['max_source']}")

    def write(
        self,
        sources: list[Any],
        mode: str,
        block: int = 4,
        tolerance: float = 1.0,
        max_len: int = 200,
        min_len: int = 1,
    ) -> list[list[int]]:
        """Answers to sources, both as ids with the end symbol; `tolerance`, in nats, is that of adaptive."""
        longest, max_len = max(sources, key=len), min(max_len, self.config["max_len"])
        if mode not in MODES:
            raise ValueError(f"a mode is needed, one of {', '.join(MODES)}, not {mode!r}")
        self.check(longest)
        src_tokens = np.array([[*source, *[self.pad] * (len(longest) - len(source))] for source in sources])
        if mode == "nar":
            return self.nar(src_tokens, max_len, min_len)
        verify = {"adaptive": tolerance, "speculative": 0.0}.get(mode)
        return self.blocks(src_tokens, 1 if mode == "ar" else block, verify, max_len, min_len)

    def nar(self, src_tokens: Any, max_len: int, min_len: int, masks: int = 32) -> list[list[int]]:
        """One pass; should an answer not have ended, once more with twice the masks."""
        masks = min(masks, max_len + 1)
        [logits] = self.run("nar", src_tokens=src_tokens, elements=np.arange(1, masks + 1))
        tokens = self.choose(logits, np.broadcast_to(np.arange(masks), logits.shape[:2]), max_len, min_len)
        if masks <= max_len and not (tokens == self.eos).any(1).all():
            return self.nar(src_tokens, max_len, min_len, 2 * masks)
        return [self.cut(row) for row in tokens.tolist()]

    def blocks(self, src_tokens: Any, block: int, verify: float | None, max_len: int, min_len: int) -> list[list[int]]:
        """Read each sentence's new tokens and draft a block; with `verify` a mask behind each checks the next one."""
        memory, going = self.run("encoder", src_tokens=src_tokens), list(range(len(src_tokens)))
        written: list[list[int]] = [[] for _ in going]
        new, read = [[self.eos] for _ in going], np.zeros(len(going), int)
        sizes = (self.config["layers"], self.config["heads"], 0, self.config["head_dim"])
        cache = [np.zeros((len(going), *sizes), np.float32) for _ in range(2)]  # keys, values
        while going:
            count = np.array([[len(tokens)] for tokens in new])
            tokens = np.array([row + [self.pad] * (int(count.max()) - len(row)) for row in new])
            check = np.arange(0 if verify is None else int(count.max()) - 1)
            anchor = np.concatenate([check + 0 * count, count - 1 + np.zeros(block, int)], 1)
            element = np.concatenate([(check < count - 1).astype(int), np.arange(1, block + 1) + 0 * count], 1)
            step = dict(lengths=read, tokens=tokens, anchor=anchor, element=element, keys=cache[0], values=cache[1])
            names = ("cross_keys", "cross_values", "source_mask")
            logits, *added = self.run("step", **step, **dict(zip(names, memory)))
            best = self.choose(logits, read[:, None] + anchor + element - 1, max_len, min_len).tolist()
            room = int((read + count[:, 0]).max()) - cache[0].shape[3]
            cache = [np.pad(old, [(0, max(room, 0) * (axis == 3)) for axis in range(5)]) for old in cache]
            for i, row in enumerate(going):
                found = draft = best[i][len(check) :]
                kept = len(new[i])
                if verify is not None:
                    found, kept = [*best[i][: kept - 1], draft[0]], 1
                    for guess in new[i][1:]:
                        choice = logits[i, kept - 1, found[kept - 1]]
                        if guess != found[kept - 1] and not (verify and logits[i, kept - 1, guess] >= choice - verify):
                            break
                        found[kept - 1], kept = guess, kept + 1
                    draft, found = draft if kept == len(new[i]) else found[kept - 1 : kept], found[:kept]
                for old, more in zip(cache, added):
                    old[i, :, :, read[i] : read[i] + kept] = more[i, :, :, :kept]
                read[i], new[i] = read[i] + kept, draft
                written[row] += self.cut(found)
            on = [i for i, row in enumerate(going) if written[row][-1] != self.eos]
            memory, cache, read = [x[on] for x in memory], [x[on] for x in cache], read[on]
            going, new = [going[i] for i in on], [new[i] for i in on]
        return written

    def cut(self, tokens: list[int]) -> list[int]:
        """Up to the end symbol."""
        return tokens[: tokens.index(self.eos) + 1] if self.eos in tokens else tokens


def main(mode: str = "", kind: str = "") -> None:
    """Answer the lines of standard input, 32 at a time."""
    writer = Writer(Path(__file__).parent, kind)
    symbols = writer.config["symbols"]
    ids = {symbol: number for number, symbol in enumerate(symbols)}
    lines = [[*(ids.get(s, writer.config["unk"]) for s in line.split()), writer.eos] for line in sys.stdin]
    for number, line in enumerate(lines, start=1):
        writer.check(line, f"line {number}: ")
    for first in range(0, len(lines), 32):
        for answer in writer.write(lines[first : first + 32], mode):
            print(*(symbols[token] for token in answer[:-1]))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
