"""``serve``: what HTTP costs at batch 1, and what decoding together gains under many clients.

The server is ``bang serve`` in a process of its own; clients are threads of this one, with a connection each. At
batch 1 a request over HTTP is timed in turn with the same text by the hub in this process. One client
sends the next text when the last is answered.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles

import torch

from bang_plugin.errors import BangError
from bang_plugin.hub import from_pretrained
from scripts.measure import spread

from .machine import describe
from .output import Output

MODES = {
    "ar, beam 4": {"decoding": "ar", "beam": 4},
    "ar, greedy": {"decoding": "ar", "beam": 1},
    "speculative, K=4": {"decoding": "speculative", "beam": 1, "block_size": 4},
    "adaptive, K=4": {"decoding": "adaptive", "block_size": 4},
    "semi_nar, K=4": {"decoding": "semi_nar", "block_size": 4},
    "nar": {"decoding": "nar"},
}


def add_arguments(parser) -> None:
    parser.add_argument("model", help="folder with a checkpoint, as for bang serve")
    parser.add_argument("--data", help="folder with the dictionaries, if they are not beside the checkpoint")
    parser.add_argument("--checkpoint-file", help="its name, if it is not one that bang serve looks for")
    parser.add_argument("--texts", type=Path, required=True, help="a text a line")
    parser.add_argument("--alone", type=int, default=150, help="texts that are timed one at a time")
    parser.add_argument("--requests", type=int, default=600, help="of each run under many clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32, 64], help="at the same time")
    parser.add_argument("--rounds", type=int, default=3, help="of each comparison; the median counts")
    parser.add_argument("--max-wait", default="5", help="of bang serve (ms)")
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES), help="all unless given")


class Server:
    """``bang serve`` while the block lasts."""

    def __init__(self, args):
        command = [sys.executable, "-m", "bang_plugin", "serve", args.model, "--port", "0", "--queue", "4096"]
        command += ["--max-wait", args.max_wait, "--threads", str(torch.get_num_threads())]
        for option in ("data", "checkpoint_file"):
            if value := getattr(args, option):
                command += [f"--{option.replace('_', '-')}", value]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        found = re.search(r"http://([\d.]+):(\d+)", self.process.stdout.readline())
        if not found:
            raise BangError(f"bang serve {args.model} has not begun")
        self.address = found.group(1), int(found.group(2))
        self.wait()

    def wait(self) -> None:
        for _ in range(100):
            try:
                Client(self.address).get("/healthz")
                return
            except OSError:
                time.sleep(0.1)
        raise BangError("bang serve does not answer")

    def memory(self) -> float:
        """MiB in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def processor_ms(self) -> float:
        """Processor time of all its threads so far."""
        return 1000 * time.clock_gettime(~self.process.pid << 3 | 2)  # Linux's clock of another process

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Client:
    """One connection that is kept."""

    def __init__(self, address):
        self.connection = HTTPConnection(*address, timeout=120)

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path)
        return self.connection.getresponse().read()

    def write(self, text: str, options: dict) -> str:
        body = json.dumps({"prompt": text, **options})
        self.connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        found = json.loads(answer.read())
        if answer.status != 200:
            raise BangError(f"the server says {found['error']['message']}")
        return found["choices"][0]["text"]

    def first_event(self, text: str, options: dict) -> float:
        """Seconds to the first event of a stream; its others are read too."""
        body = json.dumps({"prompt": text, "stream": True, **options})
        began = time.perf_counter()
        self.connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        answer.readline()
        first = time.perf_counter() - began
        answer.read()
        return first


def run(args: argparse.Namespace) -> Output:
    """Compare, print and save.

    Raises:
        BangError: if the texts cannot be read, or the server does not begin.
    """
    if args.quick:
        args.alone, args.requests, args.clients, args.rounds = 3, 8, [4], 1
    try:
        texts = [line for line in args.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise BangError(f"--texts {args.texts}: {error.strerror}") from error
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    out = Output(args.folder, "serve", describe(), {**settings, "load": os.getloadavg()})
    hub = from_pretrained(args.model, args.checkpoint_file, args.data, cpu=True)
    rows, alone = [], []
    with Server(args) as server:
        for name in args.modes:
            alone.append({"decoding": name, **latency(hub, server, texts, MODES[name], args)})
            rows += [{"decoding": name, **row} for row in throughput(server, texts, MODES[name], args)]
        out.fact("memory of the server at the end (MiB)", server.memory())
    out.table("One client: ms for a text", alone)
    out.table("Many clients", rows)
    out.save(partial(_draw, rows))
    return out


def latency(hub, server: Server, texts: list[str], options: dict, args) -> dict:
    """The same text by the hub here and over HTTP, in turn."""
    client, direct, http, first = Client(server.address), [], [], []
    generator = hub.prepare(**options)
    texts = (texts * args.alone)[: args.alone + 3]
    here_ms, there_ms = 0.0, 0.0
    for number, text in enumerate(texts):
        if number == 3:  # those before warm up
            direct, http, first, here_ms = [], [], [], 0.0
            there_ms = -server.processor_ms()
        began, processor = time.perf_counter(), time.process_time()
        here = write(hub, generator, text)
        between = time.perf_counter()
        here_ms += 1000 * (time.process_time() - processor)
        there = client.write(text, options)
        end = time.perf_counter()
        if here != there:
            raise BangError(f"{text}: the server wrote {there}, the hub {here}")
        direct.append(1000 * (between - began))
        http.append(1000 * (end - between))
    there_ms += server.processor_ms()
    first = [1000 * client.first_event(text, options) for text in texts[3:]]
    added = [b - a for a, b in zip(direct, http)]
    return {
        "from Python": median(direct),
        "over HTTP": median(http),
        "added": median(added),
        "added, best tenth": quantiles(http, n=10)[0] - quantiles(direct, n=10)[0],
        "± %": 100 * spread(http),
        "processor ms from Python": here_ms / args.alone,
        "processor ms of the server": there_ms / args.alone,
        "to the first event": median(first),
    }


def write(hub, generator, text: str) -> str:
    """By a generator that is there already, as the server has it."""
    task, search, _ = generator
    source = hub.encode(text)
    data = task.build_dataset_for_inference([source], [len(source)])
    return hub.decode(task.inference_step(search, hub.models, data.collater([data[0]]))[0][0]["tokens"])


def throughput(server: Server, texts: list[str], options: dict, args) -> list[dict]:
    """One client and many, in turn, on the same texts."""
    texts = (texts * args.requests)[: args.requests]
    times: dict[int, list[float]] = {clients: [] for clients in (1, *args.clients)}
    waits: dict[int, list[float]] = {clients: [] for clients in times}
    outputs = {}
    for _ in range(args.rounds):
        for clients in times:
            share = texts[: max(len(texts) // 4, 1)] if clients == 1 else texts
            began = time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                parts = list(
                    pool.map(partial(_client, server.address, options), [share[i::clients] for i in range(clients)])
                )
            times[clients].append(len(share) / (time.perf_counter() - began))
            waits[clients] += [1000 * seconds for part in parts for _, _, seconds in part]
            for part in parts:
                for text, written, _ in part:
                    if outputs.setdefault(text, written) != written:
                        outputs[text] = None
    rows = []
    for clients, speeds in times.items():
        rows.append(
            {
                "clients": clients,
                "texts / s": median(speeds),
                "± %": 100 * spread(speeds) if len(speeds) > 1 else 0.0,
                "x one client": median(b / a for a, b in zip(times[1], speeds)),
                "ms, median": median(waits[clients]),
                "ms, 99 %": quantiles(waits[clients], n=100)[-1],
                "other answers than alone": sum(written is None for written in outputs.values()),
            }
        )
    return rows


def _client(address, options: dict, texts: list[str]) -> list[tuple[str, str, float]]:
    client, found = Client(address), []
    for text in texts:
        began = time.perf_counter()
        written = client.write(text, options)
        found.append((text, written, time.perf_counter() - began))
    return found


def _draw(rows: list[dict], figure) -> None:
    axes = figure.subplots()
    for name in dict.fromkeys(row["decoding"] for row in rows):
        own = [row for row in rows if row["decoding"] == name]
        axes.plot([row["clients"] for row in own], [row["texts / s"] for row in own], "o-", label=name)
    axes.set(xlabel="clients", ylabel="texts per second")
    axes.legend()
