"""``bang serve`` as it is typed: it drains on SIGTERM, and says in one line what it cannot do."""

import builtins
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bang_plugin.__main__ import main
from bang_plugin.commands import serve
from bang_plugin.serving import pages, server

from .conftest import until


@pytest.fixture
def folder(toy_data, toy_checkpoint, tmp_path):
    """Named ``model`` and ``data``, as the examples have them, the dictionaries beside the checkpoint too."""
    shutil.copytree(toy_data / "bin", tmp_path / "data")
    shutil.copytree(toy_data / "bin", tmp_path / "model")
    shutil.copy(toy_checkpoint, tmp_path / "model" / "model.pt")
    (tmp_path / "token").write_text("sesame\n")
    return tmp_path


EXAMPLES = [line.strip() for line in serve.__doc__.splitlines() if line.startswith("    bang ")]


def test_examples_begin_to_serve(folder, monkeypatch, capsys):
    """Up to the point at which they would answer."""
    monkeypatch.chdir(folder)
    begun = []
    monkeypatch.setattr(server, "serve", lambda application, listener, limit: begun.append(listener.close()))
    monkeypatch.setattr(serve.logging.getLogger(), "level", serve.logging.getLogger().level)
    for example in EXAMPLES:
        main([*shlex.split(example.partition("   ")[0])[1:], "--port", "0", "--quantize", "none"])
    assert len(begun) == len(EXAMPLES) == 3
    assert "model: http://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--queue", "0"], "--queue must be at least 1, not 0"),
        (["--time-limit", "0"], "--time-limit must be at least"),
        (["--time-limit", "inf"], "--time-limit must have an end"),
        (["--port", "99999"], "--port must be from 0 to 65535, not 99999"),
        (["--port", "-1"], "--port must be from 0 to 65535, not -1"),
        (["--token-file", "gone"], "--token-file gone: cannot be read"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid --port 0: "),
        (["--checkpoint-file", "gone.pt"], "gone.pt"),
    ],
)
def test_mistakes(folder, monkeypatch, options, message):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        main(["serve", "model", "--port", "0", *options])
    assert message in str(end.value.code) and "\n" not in str(end.value.code)


def test_a_missing_package(folder, monkeypatch):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "serving" or name.startswith("fastapi"):
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit) as end:
        main(["serve", str(folder / "model")])
    assert end.value.code == 'error: bang serve needs fastapi: pip install "bang_plugin[serve]"'


def test_a_token_from_the_environment(monkeypatch):
    monkeypatch.setenv(serve.TOKEN, "abc")
    assert serve._token(None) == "abc"
    monkeypatch.delenv(serve.TOKEN)
    assert serve._token(None) is None


def test_the_page_if_it_is_there(hub, tmp_path, monkeypatch):
    from .conftest import serving

    (tmp_path / "index.html").write_text("<p>the page")
    (tmp_path / "page.js").write_text("1")
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    with serving(hub) as served:
        page, script = served.client.get("/"), served.client.get("/static/page.js")
        assert page.text == "<p>the page" and page.headers["content-type"].startswith("text/html")
        assert script.text == "1" and "javascript" in script.headers["content-type"]
        assert served.client.get("/static/gone.js").status_code == 404


def test_small_parts_are_sent_at_once():
    """Where the protocol is not named asyncio lets the last part of an answer wait for 40 ms."""
    import socket

    listener, _ = server.listen("127.0.0.1", 0)
    with listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_sigterm_loses_nothing(folder):
    """What has been taken is answered, streams to their ends; then the process ends with status 0."""
    command = [sys.executable, "-m", "bang_plugin", "serve", str(folder / "model"), "--port", "0", "--threads", "1"]
    command += ["--max-batch-tokens", "64", "--time-limit", "200"]  # many batches, so that the signal comes between
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+", process.stdout.readline()).group()

        def answers():
            try:
                return httpx.get(url + "/healthz", timeout=60).status_code == 200
            except httpx.ConnectError:
                return False

        def asked():
            metrics = httpx.get(url + "/metrics", timeout=60).text
            return 'bang_requests_in_progress{path="/v1/completions"} 2.0' in metrics

        until(answers)
        body = {"prompt": ["h g f e d c b a", "a b", "c d e"] * 20, "max_tokens": 15, "decoding": "ar", "beam": 4}

        def ask(stream):
            return httpx.post(url + "/v1/completions", json={**body, "stream": stream}, timeout=200)

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(ask, stream) for stream in (False, True)]
            until(lambda: asked() or any(job.done() for job in jobs))
            early = any(job.done() for job in jobs)
            process.send_signal(signal.SIGTERM)
            whole, streamed = (job.result() for job in jobs)
        assert not early, "one was answered before the signal"
        assert len(whole.json()["choices"]) == 60
        lines = [line for line in streamed.text.splitlines() if line]
        assert lines[-1] == "data: [DONE]"
        choices = [choice for line in lines[:-1] for choice in json.loads(line[6:])["choices"]]
        ended = {choice["index"] for choice in choices if choice["finish_reason"]}
        assert ended == set(range(60))
        assert process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "/healthz")
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_the_folder_of_the_page_is_part_of_the_package():
    setup = (Path(pages.__file__).parents[2] / "setup.py").read_text()
    assert "serving/static/*" in setup
