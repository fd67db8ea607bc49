"""BLEU in validation: one run, several decodings."""

import json
import re

import pytest
import sacrebleu
import torch
from fairseq import checkpoint_utils

from bang_plugin.errors import BangError
from tests.command_line import fairseq, hypotheses
from tests.conftest import SMALL


def train(toy_data, save_dir, *options, updates=2, **given):
    """Train with ``--eval-bleu``; ``given`` are ``--eval-bleu-args``."""
    base = [toy_data / "bin", "--task", "bang", "--save-dir", save_dir, "--max-update", updates, *SMALL, "--ngram", 4]
    fairseq("train", *base, "--eval-bleu", "--eval-bleu-args", json.dumps({"max_len_b": 12, **given}), *options)


def logged(text, name) -> list[float]:
    """All values of a validation metric in the log."""
    return [float(value) for value in re.findall(rf'"valid_{name}": "([^"]*)"', text)]


@pytest.fixture(scope="module")
def validated(toy_data, toy_checkpoint, tmp_path_factory):
    """A model that spells a little, validated by three decodings before it learns more; its folder and log."""
    folder = tmp_path_factory.mktemp("validated")
    log = folder / "log"
    decodings = ["--eval-decodings", "ar,nar,semi_nar", "--finetune-from-model", toy_checkpoint, "--lr", 1e-9]
    best = ["--best-checkpoint-metric", "nar_bleu", "--maximize-best-checkpoint-metric"]
    options = [*decodings, *best, "--nar-ratio", 0.5, "--log-format", "json", "--log-file", log]
    train(toy_data, folder, *options, updates=1, beam=2, block_size=2, nar_chunk=5)
    return folder, log.read_text()


def test_each_decoding_has_the_bleu_of_what_it_writes(toy_data, validated):
    folder, text = validated
    for decoding, options in (("ar", ["--beam", 2]), ("nar", []), ("semi_nar", ["--block-size", 2])):
        decode = ["--task", "bang", "--path", folder / "checkpoint_best.pt", "--gen-subset", "valid", "--max-len-b", 12]
        output = fairseq("generate", toy_data / "bin", *decode, "--decoding", decoding, *options, "--cpu")
        references = dict(re.findall(r"^T-(\d+)\t(.*)$", output, re.M))
        pairs = [(text, references[str(number)]) for number, (_, text) in hypotheses(output).items()]
        written, right = zip(*pairs)
        bleu = sacrebleu.corpus_bleu(list(written), [list(right)]).score
        assert logged(text, f"{decoding}_bleu") == [pytest.approx(bleu, abs=0.006)]
    assert logged(text, "bleu") == logged(text, "ar_bleu")
    assert len({logged(text, f"{d}_bleu")[0] for d in ("ar", "nar", "semi_nar")}) == 3


def test_nar_bleu_chooses_the_best_checkpoint(validated):
    folder, text = validated
    best = torch.load(folder / "checkpoint_best.pt", weights_only=True)["extra_state"]["best"]
    assert [best] == logged(text, "nar_bleu")


def test_bleu_of_empty_outputs_is_zero(toy_data, tmp_path, caplog):
    """fairseq logs none then, and ends in a KeyError where it is the metric of the best checkpoint."""
    caplog.set_level("INFO")
    best = [
        "--best-checkpoint-metric",
        "bleu",
        "--maximize-best-checkpoint-metric",
        "--no-save",
        "--log-format",
        "json",
    ]
    train(toy_data, tmp_path, *best, decoding="nar", max_len_b=0, min_len=0, updates=1)
    assert logged(caplog.text, "bleu") == logged(caplog.text, "nar_bleu") == [0.0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"eval_bleu_args": '{"beem": 1}'}, "unknown option beem; did you mean beam"),
        ({"eval_bleu_args": '{"decodin": "nar"}'}, "unknown option decodin; did you mean decoding"),
        ({"eval_bleu_args": '{"decoding": "sideways"}'}, "decoding sideways: choose one of ar, nar"),
        ({"eval_bleu_args": '{"prefix_size": 1}'}, "prefix_size cannot be used in validation"),
        ({"eval_bleu_args": '{"trace_file": "x"}'}, "trace_file cannot be used in validation"),
        ({"eval_bleu_args": '{"decoding": "adaptive", "sampling": true}'}, "--sampling needs --decoding ar"),
        ({"eval_bleu_args": '{"nar_candidates": 4}'}, "--nar-candidates 4 needs --decoding nar"),
        ({"eval_bleu_args": '{"decoding": "semi_nar", "block_size": 0}'}, "--block-size must be at least 1"),
        ({"eval_bleu_args": '{"beam": "four"}'}, "'four'"),
        ({"eval_bleu_args": '{"sampling_topk": 3}'}, "requires --sampling"),
        ({"eval_bleu_args": "{beam: 4}"}, "write JSON, for instance"),
        ({"eval_bleu_args": "[4]"}, "write a JSON object"),
        ({"eval_decodings": "ar,backwards"}, "--eval-decodings backwards: choose one of"),
        ({"eval_decodings": "ar,nar", "eval_bleu_args": '{"decoding": "nar"}'}, "not in both"),
        ({"eval_decodings": "ar", "eval_bleu": False}, "--eval-decodings needs --eval-bleu"),
        ({"eval_bleu_detok": "oven"}, "--eval-bleu-detok oven: choose one of"),
        ({"eval_bleu_detok_args": "{"}, "--eval-bleu-detok-args {: "),
    ],
)
def test_unusable_options_are_one_line(make_task, model, options, message):
    with pytest.raises(BangError, match=re.escape(message)) as refused:
        make_task(**{"eval_bleu": True, **options}).prepare_bleu(model)
    assert "\n" not in str(refused.value)


def test_options_go_where_they_have_an_effect(make_task, model):
    """Those of the command line that another decoding has no meaning for do not disturb it."""
    args = '{"no_repeat_ngram_size": 2, "block_size": 3, "lenpen": 0.5}'
    command_line = {"decoding": "nar", "nar_candidates": 4, "collapse_repeats": True}
    task = make_task(eval_bleu=True, eval_decodings="ar,nar,semi_nar", eval_bleu_args=args, **command_line)
    task.prepare_bleu(model)
    ar, nar, semi_nar = task.bleu_generators.values()
    assert ar.repeat_ngram_blocker.no_repeat_ngram_size == 2 and ar.len_penalty == 0.5
    assert nar.mode.keywords["nar_candidates"] == 4 and nar.lenpen == 0.5 and nar.collapsing
    assert semi_nar.mode.keywords["block_size"] == 3 and semi_nar.collapsing
    assert task.cfg.decoding == "nar" and task.cfg.block_size == 4


def test_a_checkpoint_can_be_used_whatever_it_was_validated_with(toy_data, toy_checkpoint):
    """Generation does not need what BLEU in training did."""
    overrides = {"eval_bleu": True, "eval_bleu_detok": "oven", "data": str(toy_data / "bin")}
    checkpoint_utils.load_model_ensemble_and_task([toy_checkpoint], arg_overrides=overrides)
