"""The OpenAPI description comes from the one table of options, and the server does what it says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bang_plugin.decoding import registry
from bang_plugin.decoding.option_table import OPTIONS, TASK_OPTIONS
from bang_plugin.decoding.registry import register_decoding, unregister
from bang_plugin.serving.schema import servable

# what reads or writes files, needs a function, or is the server's affair
NOT_IN_REQUESTS = {"print_trace", "trace_file", "quantize", "compile", "lm_path", "lm_weight", "constraints"}
NOT_IN_REQUESTS |= {"prefix_allowed_tokens_fn", "prefix_size", "score_reference", "sacrebleu", "no_seed_provided"}
NOT_IN_REQUESTS |= {"retain_dropout", "retain_dropout_modules"}


def test_every_option_that_some_decoding_understands(hub):
    names = {option.name for option in servable(hub)} - {"decoding"}
    want = {name for name in OPTIONS if registry.readers(name)} - NOT_IN_REQUESTS
    assert names == want
    assert {option.name for option in servable(hub, scoring=True)} - {"decoding"} <= set(TASK_OPTIONS)


def test_a_decoding_of_one_s_own_is_offered(hub):
    @register_decoding("mine", help="as I like it")
    def mine(session, state, block_size, threshold=0.5):
        raise AssertionError

    try:
        options = {option.name: option for option in servable(hub)}
        assert "mine: as I like it" in options["decoding"].help and "mine" in options["block_size"].help
        assert "decoding_args" in options
    finally:
        unregister("mine")


def test_models_tell_what_a_page_needs(served):
    [model] = served.client.get("/v1/models").json()["data"]
    assert [decoding["name"] for decoding in model["decodings"]] == registry.names()
    found = {decoding["name"]: decoding for decoding in model["decodings"]}
    assert "tolerance" in found["adaptive"]["options"] and "tolerance" not in found["nar"]["options"]
    block, width = model["options"]["block_size"], model["options"]["draft_width"]
    assert (block["type"], block["default"], block["minimum"], block["maximum"]) == ("int", 4, 1, 64)
    assert width["default"] is None and model["options"]["tolerance"]["type"] == "float"
    assert model["max_tokens"] == 19 and model["max_prompt_tokens"] == 20


def test_the_description(served):
    schema = served.client.get("/openapi.json").json()
    fields = schema["components"]["schemas"]["CompletionRequest"]["properties"]
    assert fields["decoding"]["anyOf"][0]["enum"] == registry.names() and fields["block_size"]["default"] == 4
    assert fields["beam"]["anyOf"][0]["maximum"] == 64 and "prompt" in fields and "tolerance" in fields
    page = served.client.get("/docs").text
    assert "draft_width" in page and "<script" not in page and "http://" not in page and "https://" not in page


def test_metrics(served):
    served.post(prompt="a b", decoding="speculative", beam=1)
    text = served.client.get("/metrics").text
    for line in (
        'bang_requests_total{path="/v1/completions",status="200"}',
        'bang_requests_in_progress{path="/metrics"} 1.0',
        'bang_requests_in_progress{path="/v1/completions"} 0.0',
        'bang_passes_total{decoding="speculative"}',
        'bang_proposed_tokens_total{decoding="speculative"}',
        'bang_kept_tokens_total{decoding="speculative"}',
        'bang_request_seconds_bucket{le="0.005",path="/v1/completions"}',
        "bang_queue_length",
        "bang_queue_seconds_count",
        "bang_batch_sentences_count",
    ):
        assert line in text
    served.client.get("/invented")
    assert "/invented" not in served.client.get("/metrics").text


def conforms(served, examples):
    """Answers are as described for whatever is sent, and what is outside of the description is refused.

    What is inside of it may be refused too, since no schema says which options go together.
    """
    schema = schemathesis.openapi.from_url(served.url + "/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 5
    for operation in operations:

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def call(case):
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        call()


def test_schemathesis(served):
    conforms(served, examples=25)


@pytest.mark.slow
def test_schemathesis_at_length(served):
    conforms(served, examples=500)
