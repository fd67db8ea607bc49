"""A server in a thread of the test process, on the toy checkpoint."""

import contextlib
import json
import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from bang_plugin.hub import from_pretrained
from bang_plugin.serving import server
from bang_plugin.serving.app import Settings, build_with_service


@pytest.fixture(scope="session")
def hub(toy_data, toy_checkpoint):
    return from_pretrained(str(Path(toy_checkpoint).parent), data_name_or_path=toy_data / "bin", cpu=True)


@pytest.fixture(scope="session", autouse=True)
def quiet_client():
    """pytest keeps what is logged, and httpx logs every request."""
    logging.getLogger("httpx").setLevel(logging.WARNING)


@contextlib.contextmanager
def serving(hub, **settings):
    """The address, an HTTP client and the insides of a server that runs until the block ends."""
    app, service = build_with_service(hub, Settings(name="toy", **settings))
    listener, url = server.listen("127.0.0.1", 0)
    running = server.Server(server.config(app, time_limit=1))
    thread = threading.Thread(target=running.run_on, args=(listener,))
    thread.start()
    try:
        until(lambda: running.started)
        with httpx.Client(base_url=url, timeout=100) as client:
            yield SimpleNamespace(url=url, client=client, service=service, post=lambda **b: post(client, **b))
    finally:
        running.should_exit = True
        thread.join(100)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(hub):
    with serving(hub) as found:
        yield found


def post(client, path="/v1/completions", **body) -> httpx.Response:
    return client.post(path, json={"max_tokens": 15, **body} if path == "/v1/completions" else body)


def texts(response) -> list[str]:
    assert response.status_code == 200, response.text
    return [choice["text"] for choice in response.json()["choices"]]


def events(client, **body) -> list[dict]:
    """What a streamed answer says, without its end mark."""
    with client.stream("POST", "/v1/completions", json={"max_tokens": 15, **body, "stream": True}) as response:
        assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def until(happened, seconds=100.0):
    """Wait for something."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.005)


@contextlib.contextmanager
def held(service):
    """The decoding thread waits until the block ends; ``entered`` tells that it does."""
    entered, free, whole = threading.Event(), threading.Event(), service.engine._write

    def write(jobs):
        entered.set()
        assert free.wait(100)
        return whole(jobs)

    service.engine._write = write
    try:
        yield SimpleNamespace(entered=entered, free=free)
    finally:
        free.set()
        service.engine._write = whole
