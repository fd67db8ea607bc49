"""The benchmark of the server measures what it says. Times decide nothing."""

from types import SimpleNamespace

import pytest

from bang_plugin.errors import BangError
from scripts import benchmark
from scripts.bench import serve


@pytest.fixture
def bench(served):
    host, port = served.url.removeprefix("http://").split(":")
    address = (host, int(port))
    server = SimpleNamespace(address=address, processor_ms=lambda: 0.0)
    return SimpleNamespace(server=server, args=SimpleNamespace(alone=3, requests=12, clients=[3], rounds=2))


def test_one_client_and_many(bench, hub):
    texts, options = ["a b", "c d e", "h g f"], {"decoding": "nar"}
    alone = serve.latency(hub, bench.server, texts, options, bench.args)
    assert alone["over HTTP"] > 0 and alone["from Python"] > 0 and alone["to the first event"] > 0
    one, many = serve.throughput(bench.server, texts, options, bench.args)
    assert (one["clients"], many["clients"], one["x one client"]) == (1, 3, 1.0)
    assert many["texts / s"] > 0 and many["other answers than alone"] == 0


def test_other_answers_are_an_error(bench, hub, monkeypatch):
    monkeypatch.setattr(serve, "write", lambda hub, generator, text: "something else")
    with pytest.raises(BangError, match="the server wrote .*, the hub something else"):
        serve.latency(hub, bench.server, ["a b"], {"decoding": "nar"}, bench.args)


def test_what_the_server_refuses_ends_it(bench):
    with pytest.raises(BangError, match="the server says .*block_size"):
        serve.Client(bench.server.address).write("a", {"block_size": 0})


def test_options():
    args = benchmark.parse(["serve", "model", "--texts", "file", "--clients", "8"])
    assert args.clients == [8] and args.modes == list(serve.MODES)
