"""Many requests at once, hostile ones among them: every honest one is answered right, and nothing piles up."""

import ctypes
import gc
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bang_plugin.decoding.observers import _SUBSCRIBED

from .conftest import serving

LINES = ["a", "h g f e d c b a", "b c", "d e f a", "", "c c c c c", "e f g", "g a", "a b c d", "h"]
MODES = [{"decoding": "nar"}, {"decoding": "semi_nar", "block_size": 2}, {"decoding": "speculative", "beam": 1}]
MODES += [{"decoding": "ar", "beam": 2}, {"decoding": "adaptive"}]
HOSTILE = [
    b"",
    b"{" * 50_000,
    b"\x00\xff" * 100,
    b'{"prompt": "' + b"a " * 300_000 + b'"}',
    b'{"prompt": "a", "max_tokens": 1e99}',
    b'{"prompt": "\\ud800"}',
    b'{"prompt": ["a", ["b"]]}',
    b'{"prompt": "a", "beam": -1}',
    b'{"prompt": "a", "trace_file": "/etc/passwd"}',
    b'{"prompt": "a", "decoding": {"$ne": null}}',
]
JSON = {"content-type": "application/json"}


def resident() -> float:
    """MiB, without what the allocator keeps for later: 64 clients are in this process too."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def soak(served, hub, requests, clients, watch=lambda done: None):
    """Send so many requests from so many clients; the statuses of hostile ones, and the number of honest ones."""
    alone = [hub.sample(LINES, max_len_b=15, **mode) for mode in MODES]
    want = {(line, i): text for i, found in enumerate(alone) for line, text in zip(LINES, found)}
    done, lock, statuses, honest = [0], threading.Lock(), set(), [0]

    def client(number):
        draw = random.Random(number)
        with httpx.Client(base_url=served.url, timeout=100) as http:
            for _ in range(requests // clients):
                with lock:
                    done[0] += 1
                    watch(done[0])
                kind = draw.random()
                if kind < 0.15:
                    status = http.post("/v1/completions", content=draw.choice(HOSTILE), headers=JSON).status_code
                    statuses.add(status)
                    continue
                line, mode = draw.choice(LINES), draw.randrange(len(MODES))
                body = {"prompt": line, "max_tokens": 15, **MODES[mode]}
                if kind < 0.2:  # leaves before the answer
                    try:
                        http.post("/v1/completions", json=body, timeout=0.001)
                    except httpx.TimeoutException:
                        pass
                    continue
                answer = http.post("/v1/completions", json={**body, "stream": kind > 0.9})
                assert answer.status_code == 200, answer.text
                if kind <= 0.9:
                    assert answer.json()["choices"][0]["text"] == want[line, mode]
                else:
                    assert answer.text.endswith("data: [DONE]\n\n")
                honest[0] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    assert not served.service.queue.waiting and not _SUBSCRIBED
    assert served.client.get("/healthz").status_code == 200
    return statuses, honest[0]


def test_some_hundred_requests(served, hub):
    statuses, honest = soak(served, hub, 240, 12)
    assert statuses <= {400, 413, 422} and len(statuses) > 1 and honest > 140


@pytest.mark.slow
def test_ten_thousand_requests_from_64_clients(hub, capsys):
    """Memory is flat: after the first third it grows by less than 20 MiB; the slope is printed."""
    sizes = []

    def watch(done):
        if not done % 500:
            sizes.append((done, resident()))

    with serving(hub, places=512) as served:
        statuses, honest = soak(served, hub, 10_000 // 64 * 64 + 64, 64, watch)
    assert statuses <= {400, 413, 422} and honest > 7000
    later = [(done, size) for done, size in sizes if done > 3300]
    slope = (later[-1][1] - later[0][1]) / (later[-1][0] - later[0][0]) * 1000
    (first, before), (last, after) = later[0], later[-1]
    slope = 1000 * (after - before) / (last - first)
    growth = f"{before:.1f} to {after:.1f} MiB, {slope:.2f} MiB per 1,000 requests"
    with capsys.disabled():
        print(f"\n{[round(size) for _, size in sizes]}\n{honest} answers; {growth}")
    assert after - before < 20
