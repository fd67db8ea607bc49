"""Every option in every decoding: it changes something, or a line says that it does not."""

import argparse
import copy
from pathlib import Path

import pytest
import torch
from fairseq import search
from fairseq.dataclass.configs import FairseqConfig, GenerationConfig
from fairseq.tasks.translation import TranslationConfig
from omegaconf import OmegaConf

from bang_plugin.decoding import option_table, registry
from bang_plugin.decoding import options as decoding_options
from bang_plugin.decoding.option_table import GENERATION_OPTIONS, OPTIONS, TASK_OPTIONS
from bang_plugin.decoding.state import Limits
from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel
from bang_plugin.modules.packed_linear import PackedLinear, available
from bang_plugin.tasks.bang import BangConfig
from tests.conftest import build_reference_model

from .conftest import write, write_all
from .test_scoring import score, targets  # noqa: F401

DECODINGS = registry.names()
# a value of each that cannot but show where it has an effect, and what else must be so
VALUES = {
    "block_size": (2, {"confidence": 0.0, "tolerance": 100.0}),
    "tolerance": (100.0, {}),
    "draft_width": (30, {"beam": 3}),
    "confidence": (0.0, {}),
    "collapse_repeats": (True, {}),
    "nar_chunk": (2, {}),
    "nar_candidates": (4, {}),
    "print_trace": (True, {}),
    "trace_file": ("trace", {}),
    "decoding_args": ('{"x": 1}', {}),
    "beam": (3, {}),
    "nbest": (2, {}),
    "max_len_a": (0.3, {"max_len_b": 1}),
    "max_len_b": (3, {}),
    "min_len": (9, {}),
    "match_source_len": (True, {}),
    "unnormalized": (True, {}),
    "lenpen": (2.5, {}),
    "unkpen": (-100.0, {}),
    "score_reference": (True, {}),
    "prefix_size": (2, {}),
    "no_repeat_ngram_size": (1, {}),
    "sampling": (True, {}),
    "sampling_topk": (2, {"sampling": True}),
    "sampling_topp": (0.3, {"sampling": True}),
    "constraints": ("ordered", {}),
    "prefix_allowed_tokens_fn": (lambda batch, tokens: [8, 11], {}),
    "temperature": (0.2, {}),
    "diverse_beam_groups": (2, {"beam": 4}),
    "diverse_beam_strength": (9.0, {"diverse_beam_groups": 2, "beam": 4}),
    "diversity_rate": (3.0, {"beam": 3}),
    "lm_path": ("lm.pt", {}),
    "lm_weight": (1.0, {}),
    "retain_dropout": (True, {}),
    "retain_dropout_modules": (["BangDecoderLayer"], {"retain_dropout": True}),
    "replace_unk": ("@@ ", {}),
    "print_alignment": ("hard", {}),
    "print_step": (True, {}),
    "retain_iter_history": (True, {}),
    "iter_decode_eos_penalty": (1.0, {}),
    "iter_decode_max_iter": (3, {}),
    "iter_decode_force_max_iter": (True, {}),
    "iter_decode_with_beam": (3, {}),
    "iter_decode_with_external_reranker": (True, {}),
    "decoding_format": ("vote", {}),
    "beam_mt": (3, {}),
    "max_len_a_mt": (1.0, {}),
    "max_len_b_mt": (3, {}),
    "lenpen_mt": (2.0, {}),
    "eos_token": ("x", {}),
    "no_early_stop": (True, {}),
    "no_beamable_mm": (True, {}),
}
# with an effect elsewhere than on a generator: on the packed or compiled model (tests/decoding/test_inference.py),
# and on what fairseq-generate does before and after
BEFORE_OR_AFTER = {"quantize", "compile", "sacrebleu", "no_seed_provided"}
# what fairseq-generate hands to the search, or makes of its hypotheses (tests/test_commands.py)
THROUGH_THE_COMMAND = {"nbest", "prefix_size", "lm_path", "lm_weight"}


def test_no_option_is_left_out():
    ours = BangConfig.__dataclass_fields__.keys() - TranslationConfig.__dataclass_fields__.keys()
    others = {"decoding", "eval_decodings", "nar_data"}  # say what all of them are of, or train
    assert TASK_OPTIONS.keys() == ours - others
    assert GENERATION_OPTIONS.keys() - {"prefix_allowed_tokens_fn"} == GenerationConfig.__dataclass_fields__.keys() - {
        "_name"
    }
    assert VALUES.keys() | BEFORE_OR_AFTER == OPTIONS.keys()


@pytest.fixture
def told(make_task, model, rows, targets, tmp_path, monkeypatch, capsys, caplog):  # noqa: F811
    """What a run says: its hypotheses, what it prints and leaves, and the lines about ignored options."""
    monkeypatch.chdir(tmp_path)
    rows, targets = rows[:3], targets[:3]
    with torch.no_grad():  # sentences end, where this model would go on for ever
        weight = model.decoder.embed_tokens.weight
        weight[make_task().target_dictionary.eos()] = 1.05 * weight[3]

    def run(decoding: str, scoring: bool, options: dict):
        caplog.clear()
        decoding_options.warn_once.cache_clear()
        task_options = {name: value for name, value in options.items() if name in TASK_OPTIONS}
        rest = {name: value for name, value in options.items() if name not in TASK_OPTIONS}
        task = make_task(decoding=decoding, **task_options)
        used = model
        if rest.get("retain_dropout"):
            used = copy.deepcopy(model)
            cfg = OmegaConf.structured(FairseqConfig())
            cfg.generation.retain_dropout = True
            cfg.generation.retain_dropout_modules = rest.get("retain_dropout_modules")
            cfg.task = OmegaConf.structured(BangConfig(data="x"))
            BangModel.__bases__[0].prepare_for_inference_(used, cfg)
        torch.manual_seed(3)
        if scoring:
            found = score(task, used, rows, targets, **rest)
        elif rest.get("score_reference"):
            found = score(task, used, rows, targets)
        elif rest.get("constraints"):
            generator = task.build_generator([used], argparse.Namespace(**rest))
            assert isinstance(generator.search, search.LexicallyConstrainedBeamSearch)
            found = [{"tokens": torch.tensor([-1])}]
        else:
            found = [h for every in write_all(task, used, rows, **{"max_len_b": 12, **rest}) for h in every]
        shown = [
            (h["tokens"].tolist(), h.get("passes"), [round(float(s), 4) for s in h.get("positional_scores", [])])
            + (round(float(h.get("score", 0)), 4),)
            for h in found
        ]
        del task, found
        trace = Path("trace").read_text() if Path("trace").exists() else ""
        if trace:
            Path("trace").unlink()
        return (shown, capsys.readouterr().out, trace), [r.getMessage() for r in caplog.records if r.levelno >= 30]

    return run


@pytest.mark.parametrize("scoring", [False, True])
@pytest.mark.parametrize("decoding", DECODINGS)
def test_an_effect_or_a_line(told, decoding, scoring):
    plain = {}  # by what else must be so, what is said without the option

    def without(others: dict):
        key = str(others)
        if key not in plain:
            plain[key] = told(decoding, scoring, others)[0]
        return plain[key]

    for name, (value, others) in VALUES.items():
        if scoring and name == "score_reference":
            continue  # that is what scoring is
        lacks = registry.needs(name, decoding, scoring)
        flag = option_table.flag(name)
        if lacks and OPTIONS[name].refused:
            with pytest.raises(BangError, match=f"^{flag}( .*)? (needs|has no effect)"):
                told(decoding, scoring, {name: value})
        elif lacks:
            shown, lines = told(decoding, scoring, {name: value})
            assert sum(line.startswith(f"{flag} ") and line.endswith("it is ignored") for line in lines) == 1, name
            assert shown == without({}), name
        elif name not in THROUGH_THE_COMMAND:
            shown, lines = told(decoding, scoring, {**others, name: value})
            assert not any(line.startswith(f"{flag} ") and "ignored" in line for line in lines), name
            assert shown != without(others), name


@pytest.mark.parametrize("decoding", DECODINGS)
def test_defaults_and_harmless_values_are_silent(told, decoding):
    defaults = {name: option_table.default(name) for name in OPTIONS if name not in ("lm_weight", "sacrebleu")}
    del defaults["prefix_allowed_tokens_fn"], defaults["max_len_b"]
    harmless = {**defaults, "beam": 1, "print_alignment": False, "trace_file": None}
    for options in (defaults, harmless):
        _, lines = told(decoding, False, options)
        assert [line for line in lines if "ignored" in line] == []


def test_one_warning_is_enough(told, make_task, model, rows, caplog):
    told("nar", False, {"beam": 3})
    write(make_task(decoding="nar"), model, rows, beam=3)
    assert (
        sum("--beam 3 needs --decoding ar or speculative; it is ignored" in r.getMessage() for r in caplog.records) == 1
    )


def test_quantize_packs_for_every_mode(reference, make_task, rows):
    if not available("int8"):
        pytest.skip("not on this processor")
    for decoding in DECODINGS:
        packed = build_reference_model(reference)
        cfg = OmegaConf.structured(FairseqConfig())
        cfg.task = OmegaConf.structured(BangConfig(data="x", quantize="int8", decoding=decoding))
        packed.prepare_for_inference_(cfg)
        assert isinstance(packed.decoder.packed_output, PackedLinear)
        task = make_task(decoding=decoding)
        exact, rounded = (write(task, m, rows) for m in (build_reference_model(reference), packed))
        assert any(float(a["score"]) != float(b["score"]) for a, b in zip(exact, rounded))


@pytest.mark.parametrize("a", [0.1, 0.29, 0.57, 0.7, 1.1, 1.15, 2.3])
def test_lengths_are_those_of_double_precision(a):
    lengths = list(range(1, 300))
    found = Limits(max_len_a=a, max_len_b=5).max_lengths(torch.tensor(lengths), 10**6)
    assert found.tolist() == [int(a * length + 5) for length in lengths]
