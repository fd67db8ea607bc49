"""It stays up: bounds on everything, errors that name the field, and nobody waits for what is not to come."""

import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bang_plugin.hub import from_pretrained

from .conftest import events, held, post, serving, texts, until


@pytest.mark.parametrize(
    "body, status, field, words",
    [
        ({}, 422, "prompt", "required"),
        ({"prompt": 3}, 422, "prompt", "string"),
        ({"prompt": []}, 422, "prompt", "at least 1"),
        ({"prompt": ["a", None]}, 422, "prompt", "string"),
        ({"prompt": "a \ud800"}, 422, "prompt", "string"),
        ({"prompt": "a " * 25}, 422, "prompt", "26 tokens, with the end symbol, are more than 20"),
        ({"prompt": "a " * 4000}, 422, "prompt", "8000 characters are more than 20 tokens"),
        ({"prompt": ["a"] * 300}, 422, "prompt", "300 texts are more than 256"),
        ({"prompt": "a", "blok_size": 2}, 422, "blok_size", "not permitted"),
        ({"prompt": "a", "max_tokens": 0}, 422, "max_tokens", "greater"),
        ({"prompt": "a", "max_tokens": 10**30}, 422, "max_tokens", "less"),
        ({"prompt": "a", "decoding": "sideways"}, 422, "decoding", "'ar', 'nar'"),
        ({"prompt": "a", "decoding": "semi_nar", "n": 2}, 422, "n", "needs decoding ar or nar"),
        ({"prompt": "a", "decoding": "ar", "beam": 1, "n": 2}, 422, "n", "beam"),
        ({"prompt": "a", "decoding": "speculative", "beam": 1, "n": 2}, 422, "n", "beam"),
        ({"prompt": "a", "sampling": True, "sampling_topp": 1.5}, 422, "sampling_topp", "equal to 1"),
        ({"prompt": "a", "beam": 65}, 422, "beam", "64"),
        ({"prompt": "a", "beam": True}, 422, "beam", "integer"),
        ({"prompt": "a", "beam": "4"}, 422, "beam", "integer"),
        ({"prompt": "a", "lenpen": 1e300}, 422, "lenpen", "64"),
        ({"prompt": "a", "decoding": "adaptive", "sampling": True}, 422, "sampling", "needs decoding ar or nar"),
        ({"prompt": "a", "sampling_topk": 3}, 422, "sampling_topk", "requires sampling"),
        ({"prompt": "a", "beam": 5, "diverse_beam_groups": 2}, 422, "diverse_beam_groups", "no divisor"),
        ({"prompt": "a", "min_len": 9, "max_tokens": 3}, 422, "min_len", "more than max_tokens 3"),
        ({"prompt": "a", "min_len": 9, "max_len_a": 0.1, "max_tokens": 3}, 422, "min_len", "more than 3"),
        ({"prompt": "a", "decoding_args": {"x": 1}, "decoding": "nar"}, 422, "decoding_args", "not permitted"),
        ({"prompt": "a", "trace_file": "/tmp/x"}, 422, "trace_file", "not permitted"),
        ({"prompt": "a", "lm_path": "/etc/passwd"}, 422, "lm_path", "not permitted"),
        ({"prompt": "a", "quantize": "int8"}, 422, "quantize", "not permitted"),
        ({"prompt": "a", "logprobs": 5}, 422, "logprobs", "less"),
        ({"prompt": "a", "best_of": 3}, 422, "best_of", "less"),
        ({"prompt": "a", "model": "gpt"}, 404, "model", "there is only toy"),
    ],
)
def test_mistakes_name_the_field(served, body, status, field, words):
    raw = json.dumps(body).encode()
    answer = served.client.post("/v1/completions", content=raw, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, field) and words in error["message"], error


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"prompt": ' + 5000 * b"9" + b"}"])
def test_what_is_not_json(served, body):
    answer = served.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"


def test_json_has_to_be_called_so(served):
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = served.client.post("/v1/completions", content=b'{"prompt": "a"}', headers={"content-type": kind})
        assert answer.status_code == 422 and "Content-Type: application/json" in answer.json()["error"]["message"]


def test_scores_of_what_does_not_fit(served):
    for body, field in (
        ({"prompt": ["a", "b"], "completion": ["A"]}, "completion"),
        ({"prompt": ["a"], "completion": "A"}, "completion"),
        ({"prompt": "a", "completion": "A " * 25}, "completion"),
        ({"prompt": "a", "completion": "A", "decoding": "adaptive", "block_size": 0}, "block_size"),
        ({"prompt": "a", "completion": "A", "beam": 2}, "beam"),
    ):
        answer = post(served.client, "/v1/score", **body)
        assert answer.status_code == 422 and answer.json()["error"]["param"] == field


def test_sources_may_be_cut(toy_data, toy_checkpoint):
    options = {"data_name_or_path": toy_data / "bin", "cpu": True, "truncate_source": True}
    hub = from_pretrained(str(Path(toy_checkpoint).parent), **options)
    with serving(hub) as served:
        for long in ("a b " * 20, "a b " * 9000):
            answer = served.post(prompt=long, decoding="nar")
            assert texts(answer) == [hub.sample(long[:80], decoding="nar", max_len_b=15)]
            assert answer.json()["usage"]["prompt_tokens"] == 19
            score = post(served.client, "/v1/score", prompt=long, completion="A").json()["data"][0]["score"]
            assert score == pytest.approx(float(hub.score(long[:80], "A")["score"]), abs=1e-4)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"prompt": NaN}', b"null", b'"a"', b'{"prompt": "a", "beam": 1e999}'],
)
def test_bodies_that_are_no_request(served, body):
    answer = served.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["error"]["message"]


def test_bodies_that_are_too_long_or_too_slow(hub):
    with serving(hub, max_body=1000) as served:
        assert post(served.client, prompt="a " * 600).status_code == 413
        chunks = (b"a" * 400 for _ in range(5))  # of no announced length
        assert served.client.post("/v1/completions", content=chunks).status_code == 413
    with serving(hub, time_limit=0.3) as served, connection(served) as slow:
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def connection(served):
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=100)


def asked(**body) -> bytes:
    """A request as it is sent."""
    content = json.dumps(body).encode()
    head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    return f"POST /v1/completions HTTP/1.1\r\n{head}\r\n\r\n".encode() + content


def test_a_full_queue_says_when_to_come_again(hub):
    with serving(hub, places=3) as served, ThreadPoolExecutor(4) as pool, held(served.service) as hold:
        first = pool.submit(served.post, prompt="a b")
        until(hold.entered.is_set)
        second = pool.submit(served.post, prompt=["a", "b", "c"])
        until(lambda: len(served.service.queue.waiting) == 3)
        refused = served.post(prompt="d")
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert "bang_queue_length 3.0" in served.client.get("/metrics").text
        hold.free.set()
        assert len(texts(first.result())) == 1 and len(texts(second.result())) == 3
        assert served.post(prompt="d").status_code == 200


def test_who_leaves_frees_a_place(hub):
    with serving(hub, places=1) as served, ThreadPoolExecutor(4) as pool, held(served.service) as hold:
        first = pool.submit(served.post, prompt="a b")
        until(hold.entered.is_set)
        for stream in (False, True):
            with connection(served) as client:
                client.sendall(asked(prompt="c", stream=stream))
                until(lambda: len(served.service.queue.waiting) == 1)
            until(lambda: not served.service.queue.waiting)
        second = pool.submit(served.post, prompt="d")
        until(lambda: len(served.service.queue.waiting) == 1)
        hold.free.set()
        assert first.result().status_code == second.result().status_code == 200
    assert served.service.metrics.registry.get_sample_value("bang_sentences_total", {"decoding": "ar"}) == 2


def test_a_time_limit_ends_the_request_and_its_batch(hub):
    """The passes of a batch end too when nobody waits any more, in the shared loop and in fairseq's search."""
    with serving(hub) as served:
        service, passes = served.service, []
        usual, short = service.settings, replace(service.settings, time_limit=1)
        abandoned = lambda: service.metrics.registry.get_sample_value("bang_batches_total", {"end": "abandoned"})
        modes = ({"decoding": "semi_nar", "block_size": 1}, {"decoding": "ar", "beam": 2})
        for number, mode in enumerate(modes, 1):
            decoder = hub.models[0].decoder
            whole, over = decoder.output_layer, threading.Event()
            passes.clear()

            def slowly(*args, _whole=whole, _over=over, **kwargs):
                passes.append(1)
                assert _over.wait(100)
                return _whole(*args, **kwargs)

            served.post(prompt="a", min_len=15, **mode)  # the next request is not the first of its plan
            decoder.output_layer, service.settings = slowly, short
            try:
                late = served.post(prompt="h g f e d c b a", min_len=15, **mode)
                assert late.status_code == 504 and late.json()["error"]["code"] == "timeout"
                over.set()
                until(lambda number=number: abandoned() == number)
                assert len(passes) <= 2  # of sixteen
            finally:
                over.set()
                service.settings = usual
                del decoder.output_layer
            assert served.post(prompt="a b").status_code == 200


def test_a_batch_that_fails_fails_alone_and_leaks_nothing(served, monkeypatch, caplog):
    whole = served.service.engine._write

    def write(jobs):
        if jobs[0].plan.decoding == "nar":
            raise RuntimeError("/secret/path/model.pt is gone")
        return whole(jobs)

    monkeypatch.setattr(served.service.engine, "_write", write)
    with caplog.at_level(logging.ERROR), ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(served.post, prompt="a b", decoding=d) for d in ("nar", "ar", "semi_nar") * 2]
        statuses = [job.result().status_code for job in jobs]
    assert statuses == [500, 200, 200] * 2
    error = jobs[0].result().text
    assert "secret" not in error and "Traceback" not in error and "/secret/path" in caplog.text
    [said] = events_of_a_failure(served)
    assert said["error"]["code"] == "batch_failed" and "secret" not in json.dumps(said)


def events_of_a_failure(served):
    body = {"prompt": "a b", "decoding": "nar", "stream": True}
    lines = [line for line in served.client.post("/v1/completions", json=body).text.splitlines() if line]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_token(hub):
    with serving(hub, token="sésame") as served:
        for path in ("/v1/models", "/metrics"):
            assert served.client.get(path).status_code == 401
        answer = served.client.post("/v1/completions", json={"prompt": "a"}, headers={"Authorization": "Bearer no"})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        for path in ("/healthz", "/docs", "/openapi.json", "/"):
            assert served.client.get(path).status_code == 200
        right = {"Authorization": "Bearer sésame".encode()}
        assert served.client.post("/v1/completions", json={"prompt": "a"}, headers=right).status_code == 200
        assert served.client.get("/v1/models", headers=right).status_code == 200


def test_no_other_origin_and_nothing_elsewhere(served):
    asked = {"Origin": "http://evil", "Access-Control-Request-Method": "POST"}
    answers = [
        served.client.get("/v1/models", headers={"Origin": "http://evil"}),
        served.client.options("/v1/completions", headers=asked),
        served.client.get("/nothing/here"),
        served.client.get("/static/../app.py"),
        served.client.get("/static/%2e%2e/app.py"),
        served.client.get("/v1/completions"),
    ]
    assert [answer.status_code for answer in answers] == [200, 405, 404, 404, 404, 405]
    for answer in answers:
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "server" not in answer.headers and answer.headers["x-content-type-options"] == "nosniff"
        assert "bang_plugin/" not in answer.text
    # a form of another origin's page needs no permission, so it is no request
    form = served.client.post("/v1/completions", content=b'{"prompt": "a"}', headers={"content-type": "text/plain"})
    assert form.status_code == 422


def test_slow_readers_hold_nobody_up(served):
    """They have asked, and read nothing: all others are answered, and the places are free."""
    host, port = served.url.removeprefix("http://").split(":")
    body = asked(prompt=["h g f e d c b a"] * 50, stream=True, trace=True, decoding="nar")
    readers = []
    for _ in range(8):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        reader.connect((host, int(port)))
        reader.sendall(body)
        readers.append(reader)
    try:
        for _ in range(5):
            assert served.post(prompt="a b").status_code in (200, 429)
            assert served.client.get("/healthz").status_code == 200
        until(lambda: not served.service.queue.waiting)
        assert len(events(served.client, prompt="a b", decoding="nar")) >= 1
    finally:
        for reader in readers:
            reader.close()
