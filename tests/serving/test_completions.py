"""What is answered: the hub's own outputs, whole or in pieces, one event a pass."""

import json
import subprocess

import openai
import pytest

from bang_plugin.decoding import registry
from bang_plugin.decoding.observers import _SUBSCRIBED
from tests.conftest import train_toy  # noqa: F401

from .conftest import events, post, texts

LINES = ["a b c", "h g f e d c b a", "", "a"]
MODES = [
    {"decoding": "ar", "beam": 1},
    {"decoding": "ar", "beam": 3, "lenpen": 1.2},
    {"decoding": "nar"},
    {"decoding": "nar", "nar_candidates": 3},
    {"decoding": "semi_nar", "block_size": 2},
    {"decoding": "confident", "block_size": 3, "confidence": 0.3},
    {"decoding": "adaptive", "block_size": 3, "tolerance": 0.5},
    {"decoding": "speculative", "block_size": 3, "beam": 1},
    {"decoding": "speculative", "block_size": 3, "draft_width": 4, "beam": 3},
    {"decoding": "semi_nar", "block_size": 2, "collapse_repeats": True},
]


@pytest.mark.parametrize("mode", MODES)
def test_equals_the_hub(served, hub, mode):
    body = served.post(prompt=LINES, logprobs=1, **mode).json()
    want = [found[0] for found in hub.generate(LINES, **mode, max_len_b=15)]
    assert [choice["text"] for choice in body["choices"]] == [h["text"] for h in want]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    for choice, h in zip(body["choices"], want):
        scores = h["positional_scores"].tolist()
        assert choice["score"] == pytest.approx(float(h["score"]), abs=1e-4) and choice["passes"] == h["passes"]
        assert choice["logprobs"]["token_logprobs"] == pytest.approx(scores[:-1], abs=1e-4)
        assert " ".join(choice["logprobs"]["tokens"]) == choice["text"]
        for token, offset in zip(choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]):
            assert choice["text"][offset:].strip().startswith(token)
    written = sum(len(h["tokens"]) - 1 for h in want)
    assert body["usage"] == {"prompt_tokens": 12, "completion_tokens": written, "total_tokens": 12 + written}


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_has_an_event_for_each_pass(served, hub, mode, tmp_path):
    """Their texts make up the answer, and their records are those of --trace-file, where it can be had."""
    whole = hub.generate("h g f e d c b a", **mode, max_len_b=15)[0]
    found = events(served.client, prompt="h g f e d c b a", trace=True, stream_options={"include_usage": True}, **mode)
    *pieces, last, usage = found
    choices = [event["choices"][0] for event in pieces]
    assert "".join(choice["text"] for choice in choices) == whole["text"] == last["choices"][0]["output"]
    assert last["choices"][0]["finish_reason"] == "stop" and all(c["finish_reason"] is None for c in choices)
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == len(whole["tokens"]) - 1
    records = [choice["trace"] for choice in choices if choice["trace"]]
    kept = [token for record in records for token in record["tokens"][: record["kept"]]]
    if not mode.get("collapse_repeats"):
        assert kept == [*whole["text"].split(), "</s>"]
    passes = [record["pass"] for record in records]
    assert passes == sorted(set(passes)) and passes[-1] == whole["passes"]
    if registry.find(mode["decoding"]).understands("trace_file") and mode.get("beam", 1) == 1:
        trace = tmp_path / "trace"
        hub.generate("h g f e d c b a", **mode, max_len_b=15, trace_file=str(trace))
        want = json.loads(trace.read_text())["trace"]
        assert len(want) == len(records)
        for a, b in zip(want, records):
            assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-4)
            assert {**a, "probabilities": 0} == {**b, "probabilities": 0}
    if mode == MODES[0]:
        assert passes == list(range(1, len(whole["tokens"]) + 1))
    assert not _SUBSCRIBED


def test_a_beam_s_pieces_are_what_no_hypothesis_contradicts(served, hub):
    """For all of the test's words and several widths: nothing that was sent is taken back."""
    lines = ["a b", "c d e f", "h a h a h", "b b b c", "g f e d c b a"]
    for mode in ({"decoding": "ar", "beam": 4}, {"decoding": "speculative", "draft_width": 3, "beam": 4}):
        want = [found[0]["text"] for found in hub.generate(lines, **mode, max_len_b=15)]
        pieces = events(served.client, prompt=lines, trace=True, **mode)
        for i, text in enumerate(want):
            own = [choice for event in pieces for choice in event["choices"] if choice["index"] == i]
            assert "".join(choice["text"] for choice in own) == text == own[-1]["output"]
    early = [event["choices"][0] for event in pieces if event["choices"][0].get("trace")]
    assert len(early) > len(lines)


def test_several_answers(served, hub):
    body = served.post(prompt=["a b c", "d e"], n=3, beam=4).json()
    want = [h["text"] for found in hub.generate(["a b c", "d e"], beam=4, max_len_b=15) for h in found[:3]]
    assert [choice["text"] for choice in body["choices"]] == want
    assert [choice["index"] for choice in body["choices"]] == list(range(6))
    streamed = events(served.client, prompt=["a b c", "d e"], n=3, beam=4)
    for i, text in enumerate(want):
        own = [c["text"] for event in streamed for c in event["choices"] if c["index"] == i]
        assert "".join(own) == text


def test_the_length_limit(served):
    [cut] = served.post(prompt="a b c d e f", decoding="nar", max_tokens=2).json()["choices"]
    assert cut["finish_reason"] == "length" and len(cut["text"].split()) == 2
    [cut] = served.post(prompt="a b c d e f", beam=2, max_tokens=2).json()["choices"]
    assert cut["finish_reason"] == "length" and len(cut["text"].split()) == 2
    [whole] = served.post(prompt="a b", decoding="nar", max_tokens=15).json()["choices"]
    assert whole["finish_reason"] == "stop"


@pytest.mark.parametrize("decoding", [{"beam": 1}, {"decoding": "nar"}, {"decoding": "semi_nar", "block_size": 2}])
def test_samples_follow_the_seed_and_none_but_it(served, decoding):
    ask = {"prompt": "a b c d e f g", "sampling": True, "temperature": 3.0, **decoding}
    drawn = [texts(served.post(seed=seed, **ask)) for seed in (1, 2, 3, 1, 2, 3)]
    assert drawn[:3] == drawn[3:] and len({text for [text] in drawn}) > 1
    cold = texts(served.post(**{**ask, "temperature": 0}))
    assert cold == texts(served.post(prompt=ask["prompt"], **decoding))


def test_a_whole_answer_may_hold_its_trace(served):
    [choice] = served.post(prompt="a b c", decoding="semi_nar", block_size=2, trace=True).json()["choices"]
    assert [record["pass"] for record in choice["trace"]] == list(range(1, choice["passes"] + 1))
    assert "trace" not in served.post(prompt="a b c").json()["choices"][0]


@pytest.mark.parametrize("options", [{}, {"decoding": "nar"}, {"decoding": "semi_nar", "block_size": 2}])
def test_scores_are_the_hub_s(served, hub, options):
    sources, targets = ["a b c", "d"], ["C B A", "D E"]
    body = post(served.client, "/v1/score", prompt=sources, completion=targets, **options).json()
    for entry, want in zip(body["data"], hub.score(sources, targets, **options)):
        assert entry["score"] == pytest.approx(float(want["score"]), abs=1e-4)
        assert entry["token_logprobs"] == pytest.approx(want["positional_scores"].tolist(), abs=1e-4)
    one = post(served.client, "/v1/score", prompt="d", completion="D E", **options).json()["data"]
    assert one[0]["score"] == pytest.approx(body["data"][1]["score"], abs=1e-4)


def test_openai_s_own_client(served, hub):
    client = openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["toy"]
    ask = {"model": "toy", "prompt": "a b c d", "max_tokens": 15}
    want = hub.sample("a b c d", decoding="semi_nar", block_size=2, max_len_b=15)
    mode = {"decoding": "semi_nar", "block_size": 2}
    whole = client.completions.create(**ask, temperature=0, n=1, logprobs=1, extra_body=mode)
    assert whole.choices[0].text == want and whole.usage.prompt_tokens == 4 and whole.choices[0].finish_reason == "stop"
    chunks = list(client.completions.create(**ask, stream=True, extra_body=mode))
    assert "".join(chunk.choices[0].text for chunk in chunks) == want and len(chunks) > 2
    with pytest.raises(openai.NotFoundError, match="there is only toy"):
        client.completions.create(**{**ask, "model": "gpt"})
    with pytest.raises(openai.UnprocessableEntityError, match="block_size"):
        client.completions.create(**ask, extra_body={"decoding": "nar", "block_size": 0})


def test_curl(served, hub):
    ask = json.dumps({"prompt": "a b c", "decoding": "nar", "max_tokens": 15})
    curl = ["curl", "-sS", "-H", "Content-Type: application/json", "-d", ask, served.url + "/v1/completions"]
    answer = json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)
    assert answer["choices"][0]["text"] == hub.sample("a b c", decoding="nar", max_len_b=15)
