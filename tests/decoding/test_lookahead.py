"""Look-ahead search writes what fairseq's search writes, hypothesis for hypothesis, in fewer passes."""

import argparse

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data.data_utils import collate_tokens

from bang_plugin.decoding import draft_size, lookahead
from bang_plugin.decoding.loop import BlockGenerator
from bang_plugin.decoding.stats import format_trace
from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.serving.trace_page import read_trace
from tests.conftest import build_task

SIZES = {"embed_dim": 16, "ffn_embed_dim": 32, "layers": 1, "attention_heads": 2}


def random_model(reference, seed):
    """A small model whose sentences end here and there, and whose guesses are right here and there."""
    torch.manual_seed(seed)
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in SIZES.items()}
    cfg = BangModelConfig(max_source_positions=40, max_target_positions=40, ngram=4, **sizes)
    model = BangModel.build_model(cfg, build_task(reference.dictionary)).eval()
    with torch.no_grad():
        weight = model.decoder.embed_tokens.weight.mul_(4.0)
        weight[reference.dictionary.eos()] = weight[20:24].mean(0) * 1.5
    return model


def sources(reference, count, seed=0):
    torch.manual_seed(seed)
    eos = torch.tensor([reference.dictionary.eos()])
    return [torch.cat([torch.randint(10, 60, (int(n),)), eos]) for n in torch.randint(1, 12, (count,))]


def search(task, models, rows, prefix_tokens=None, constraints=None, **options):
    """All hypotheses of each source, by a generator that is returned too."""
    tokens = collate_tokens(rows, task.source_dictionary.pad(), left_pad=True)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
    models = models if isinstance(models, list) else [models]
    generator = task.build_generator(models, argparse.Namespace(**{"max_len_b": 14, **options}))
    torch.manual_seed(1)  # for samples
    return task.inference_step(generator, models, sample, prefix_tokens, constraints), generator


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"].tolist() for h in theirs]
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=1e-4, rtol=0)
            assert a["score"].item() == pytest.approx(b["score"].item(), abs=1e-4)


def ahead(reference, **options):
    """A task that reads ahead, whatever that costs where the tests run."""
    return build_task(reference.dictionary, **{"decoding": "speculative", "draft_width": 8, **options})


def compare(reference, models, rows, task_options=None, **options):
    """Both searches; returns the passes of both, by sentence."""
    expected, _ = search(build_task(reference.dictionary), models, rows, **options)
    found, generator = search(ahead(reference, **(task_options or {})), models, rows, **options)
    assert_same(found, expected)
    assert isinstance(generator, lookahead.LookaheadSearch) or options["beam"] == 1
    passes = [[sentence[0]["passes"] for sentence in result] for result in (found, expected)]
    assert all(ours <= theirs for ours, theirs in zip(*passes))
    return passes


OPTIONS = [
    {},
    {"lenpen": 2.0},
    {"unnormalized": True},
    {"min_len": 9},
    {"max_len_a": 0.5, "max_len_b": 3},
    {"max_len_b": 60},  # beyond the position table
    {"unkpen": -6.0},
    {"no_repeat_ngram_size": 2},
    {"temperature": 0.5},
    {"sampling": True},
    {"sampling": True, "sampling_topk": 4, "temperature": 0.7},
    {"sampling": True, "sampling_topp": 0.6},
    {"diversity_rate": 0.7},
    {"match_source_len": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_to_the_search(reference, options):
    model = random_model(reference, seed=len(str(options)))
    rows = sources(reference, 8)
    for beam in (2, 4) if "max_len_a" in options else (1, 2, 4):  # the greedy loop has a limit for each sentence
        compare(reference, model, rows, beam=beam, **options)


def test_neighbours_change_nothing(reference):
    model, rows = random_model(reference, 1), sources(reference, 8)
    together, _ = compare(reference, model, rows, beam=3)
    assert together == [compare(reference, model, [row], beam=3)[0][0] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("options", [*OPTIONS, {"diverse_beam_groups": 2}], ids=str)
@pytest.mark.parametrize("beam", [2, 4, 8])
def test_equal_to_the_search_in_large_batches(reference, options, beam):
    for seed in range(3):
        compare(reference, random_model(reference, seed), sources(reference, 64, seed), beam=beam, **options)


@pytest.mark.parametrize("beam, count", [(8, 64), (4, 1), (1, 64)])
def test_wide_beams_and_large_batches(reference, beam, count):
    compare(reference, random_model(reference, 3), sources(reference, count), beam=beam)


def test_diverse_beams(reference):
    compare(reference, random_model(reference, 4), sources(reference, 4), beam=4, diverse_beam_groups=2)


def test_ensembles(reference):
    models = [random_model(reference, seed) for seed in (5, 6)]
    compare(reference, models, sources(reference, 8), beam=3)


@pytest.mark.parametrize("block_size", [1, 2, 6])
@pytest.mark.parametrize("draft_width", [1, 3, 40])
def test_any_tree(reference, block_size, draft_width):
    options = {"block_size": block_size, "draft_width": draft_width}
    compare(reference, random_model(reference, 7), sources(reference, 4), options, beam=3)


@pytest.mark.parametrize("beam", [1, 3])
def test_prefix_tokens(reference, beam):
    rows, pad, eos = sources(reference, 4), reference.dictionary.pad(), reference.dictionary.eos()
    prefixes = torch.tensor([[30, 31, 32], [33, pad, pad], [34, 35, eos], [pad, pad, pad]])
    compare(reference, random_model(reference, 8), rows, beam=beam, prefix_size=3, prefix_tokens=prefixes)


@pytest.mark.parametrize("kind", ["ordered", "unordered"])
def test_constraints(reference, kind):
    from fairseq.token_generation_constraints import pack_constraints

    packed = pack_constraints([[torch.tensor([30, 31]), torch.tensor([40])], [torch.tensor([50])], [], []])
    model, rows = random_model(reference, 9), sources(reference, 4)
    tasks = (build_task(reference.dictionary), ahead(reference))
    expected, found = [constrained(task, model, rows, packed, kind) for task in tasks]
    assert_same(found, expected)
    assert {30, 31, 40} <= set(found[0][0]["tokens"].tolist())


def constrained(task, model, rows, packed, kind):
    """:func:`search`, where fairseq hands the constraints themselves to the search."""
    pad = task.source_dictionary.pad()
    tokens = collate_tokens(rows, pad, left_pad=True)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
    generator = task.build_generator([model], argparse.Namespace(max_len_b=14, beam=4, constraints=kind))
    return task.inference_step(generator, [model], sample, constraints=packed)


def test_fewer_passes_on_a_trained_model(toy_data, toy_checkpoint):
    overrides = {"data": str(toy_data / "bin")}
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([toy_checkpoint], arg_overrides=overrides)
    task.load_dataset("test")
    rows = [task.dataset("test")[i]["source"] for i in range(20)]
    for beam in (2, 4):
        expected, _ = search(task, models, rows, beam=beam)
        task.cfg.decoding, task.cfg.draft_width = "speculative", 2 * beam
        found, _ = search(task, models, rows, beam=beam)
        task.cfg.draft_width = 1
        narrow, _ = search(task, models, rows, beam=beam)
        task.cfg.draft_width, task.cfg.decoding = None, "ar"
        assert_same(found, expected)
        assert_same(narrow, expected)
        ours, fewer, theirs = (sum(s[0]["passes"] for s in result) for result in (found, narrow, expected))
        assert ours < fewer <= theirs and ours <= 0.7 * theirs, (beam, ours, fewer, theirs)


def test_slots_are_given_back(reference, monkeypatch):
    """The cache holds at most twice what plain search holds, which has a slot for each token of each beam."""
    seen, total, read = [], [0], lookahead.Reader._read

    def watched(reader, lacking, new):
        read(reader, lacking, new)
        total[0] += len(new[0])
        seen.append((new[0][0].depth + 1, reader.caches[0].longest))

    monkeypatch.setattr(lookahead.Reader, "_read", watched)
    rows, wide = sources(reference, 1), {"draft_width": 16}
    compare(reference, random_model(reference, 2), rows, wide, beam=4, max_len_b=60, min_len=39)
    assert seen[-1][0] > 20 and total[0] > 2 * 4 * seen[-1][0]
    assert all(slots <= 2 * 4 * length for length, slots in seen if length > 10), seen


def test_little_is_kept(reference, monkeypatch):
    """Hidden states alone are kept, and those of masks behind a prefix only until its candidates are known."""
    seen, forget = [], lookahead.Reader._forget

    def watched(reader, depth):
        forget(reader, depth)
        nodes = [node for tree in reader.trees for node in tree.nodes.values()]
        open_rows = sum(node.chain for node in nodes if not node.judged)
        seen.append((len(reader.hidden[0]), open_rows + sum(node.judged for node in nodes if node.depth >= depth)))
        assert reader.hidden[0].size(1) == SIZES["embed_dim"]

    monkeypatch.setattr(lookahead.Reader, "_forget", watched)
    compare(reference, random_model(reference, 2), sources(reference, 4), beam=4, max_len_b=60, min_len=39)
    assert len(seen) > 20 and all(kept == needed for kept, needed in seen)
    assert max(kept for kept, _ in seen) <= 4 * 8 * 4 * 4  # sentences, prefixes of a length, lengths, masks


def run_with_clock(monkeypatch, costs, sentences, batches):
    """Sizes that are chosen where a step of the search takes ``costs`` seconds, by size; and the time of all."""
    clock = [0.0]
    monkeypatch.setattr(draft_size.time, "thread_time", lambda: clock[0])
    size = draft_size.DraftSize(4, None, 4, 100)
    kinds = {None: 0, **{growth: i + 1 for i, growth in enumerate(size.trees)}}
    chosen = []
    for i in range(batches):
        chosen.append(kinds[size.start(sentences, cuda=False)])
        clock[0] += costs[chosen[-1]] * (10 + i % 3)
        size.stop(10 + i % 3)
    return chosen, clock[0]


@pytest.mark.parametrize("sentences", [1, 8, 32])
@pytest.mark.parametrize("costs", [(1, 0.8, 0.9), (1, 0.9, 0.6), (1, 1.2, 1.5), (1, 1.5, 3)], ids=str)
def test_the_size_is_what_pays(monkeypatch, costs, sentences):
    """By the time that steps took; little is spent on trying others, and each is tried again now and then."""
    chosen, seconds = run_with_clock(monkeypatch, costs, sentences, 1000)
    fastest = costs.index(min(costs))
    assert chosen[:2] == [0, 0] and set(chosen) == {0, 1, 2}
    late = chosen[500:]
    assert late.count(fastest) > 250 and sum(costs[kind] for kind in late) < 1.04 * min(costs) * len(late)
    plain = sum(10 + i % 3 for i in range(1000))
    assert seconds < 1.05 * plain and (fastest == 0 or seconds < 0.95 * plain)


def test_a_change_is_noticed(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(draft_size.time, "thread_time", lambda: clock[0])
    size = draft_size.DraftSize(4, None, 4, 100)
    for cost in (0.5, 2.0):  # of a tree, where a step without takes 1
        chosen = []
        for _ in range(400):
            chosen.append(size.start(1, cuda=False))
            clock[0] += cost * 10 if chosen[-1] else 10
            size.stop(10)
        assert (chosen[-100:].count(None) > 80) == (cost > 1)


def test_results_are_those_of_any_size(reference):
    """Without --draft-width the size changes from batch to batch, what is written does not."""
    model, rows = random_model(reference, 2), sources(reference, 4)
    expected, _ = search(build_task(reference.dictionary), model, rows, beam=4)
    task = ahead(reference, draft_width=None)
    _, generator = search(task, model, rows, beam=4)
    tokens = collate_tokens(rows, task.source_dictionary.pad(), left_pad=True)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
    race = generator.model.size.races[len(rows).bit_length()]
    read = set()
    for size in race.sizes:
        race.choose = lambda sentences, size=size: size
        found = task.inference_step(generator, [model], sample)
        assert_same(found, expected)
        read.add(found[0][0].get("proposed", 0))
        assert size.batches >= 1 and size.rate > 0
    assert len(read) == 3 and min(read) == 0  # none, and two kinds of trees


def test_one_greedy_beam_has_a_loop_of_its_own(reference):
    model, rows = random_model(reference, 2), sources(reference, 2)
    task = build_task(reference.dictionary, decoding="speculative")
    assert isinstance(search(task, model, rows, beam=1, lenpen=2.0)[1], BlockGenerator)
    assert isinstance(search(task, model, rows, beam=1, temperature=0.7)[1], lookahead.LookaheadSearch)
    assert isinstance(search(task, model, rows)[1], lookahead.LookaheadSearch)  # fairseq's default is 5


def test_restricted_search(reference):
    allowed = [reference.dictionary.eos(), 20, 21, 22]
    model, rows = random_model(reference, 2), sources(reference, 3)
    for beam in (1, 3):
        results = []
        for task in (build_task(reference.dictionary), ahead(reference)):
            args = argparse.Namespace(beam=beam, max_len_b=9)
            generator = task.build_generator([model], args, prefix_allowed_tokens_fn=lambda batch, tokens: allowed)
            tokens = collate_tokens(rows, reference.dictionary.pad(), left_pad=True)
            sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
            results.append(task.inference_step(generator, [model], sample))
        assert_same(*results)
        assert {t for found in results[0] for h in found for t in h["tokens"].tolist()} <= set(allowed)


def test_what_hypotheses_tell(reference):
    model, rows = random_model(reference, 2), sources(reference, 3)
    found, _ = search(ahead(reference), model, rows, beam=3)
    for hypotheses in found:
        best = hypotheses[0]
        assert 0 < best["passes"] <= best["kept"] <= best["proposed"]
        assert best["kept"] >= max(len(h["tokens"]) for h in hypotheses)  # a prefix for each token at least
        assert all(h["passes"] == best["passes"] for h in hypotheses)


@pytest.mark.parametrize("options", [{"beam": 4}, {"beam": 1, "temperature": 0.5}])
def test_trace(reference, tmp_path, capsys, options):
    """Of the best hypothesis: which pass wrote what, what had been guessed of it, and what was read."""
    model, rows, words = random_model(reference, 2), sources(reference, 4), reference.dictionary
    task = ahead(reference, trace_file=str(tmp_path / "t"), print_trace=True)
    found, _ = search(task, model, rows, **options)
    records = read_trace(tmp_path / "t")
    shown, drafts = capsys.readouterr().out.splitlines(), []
    for number, (record, (best, *_)) in enumerate(zip(records, found)):
        steps = best["trace"]
        assert [step["pass"] for step in steps] == list(range(1, best["passes"] + 1))
        assert sum((step["tokens"] for step in steps), []) == [words[token] for token in best["tokens"]]
        chances = sum((step["probabilities"] for step in steps), [])
        assert chances == pytest.approx(best["positional_scores"].exp().tolist())
        assert (sum(step["read"] for step in steps), sum(step["asked"] for step in steps)) == (
            best["proposed"],
            best["kept"],
        )
        for step in steps:
            right = [guess == token for guess, token in zip(step["draft"], step["tokens"])]
            assert len(step["draft"]) <= len(step["tokens"]) == step["kept"] and all(right[:-1])
            drafts.append(right)
        lines = [line for line in shown if line.startswith(f"R-{number}\t")]
        assert lines == format_trace(number, steps) and lines[0].endswith("read 1 prefixes, 1 of them asked for")
        assert record["trace"][-1]["draft"] == steps[-1]["draft"]
    assert any(right and all(right) for right in drafts) and not all(all(right) for right in drafts)
    plain, _ = search(ahead(reference), model, rows, **options)
    assert_same(found, plain)
    assert not any("trace" in best for best, *_ in plain)


def test_trace_without_a_tree(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(draft_size.DraftSize, "start", lambda *_: None)
    monkeypatch.setattr(draft_size.DraftSize, "stop", lambda *_: None)
    task = build_task(reference.dictionary, decoding="speculative", trace_file=str(tmp_path / "t"))
    ((best, *_),), _ = search(task, random_model(reference, 2), sources(reference, 1), beam=4)
    (record,) = read_trace(tmp_path / "t")
    assert [step["tokens"] for step in record["trace"]] == [[reference.dictionary[token]] for token in best["tokens"]]


def test_what_beams_have_no_meaning_for(reference):
    task = build_task(reference.dictionary, decoding="speculative", collapse_repeats=True)
    model, rows = random_model(reference, 2), sources(reference, 1)
    with pytest.raises(BangError, match="with --decoding speculative needs greedy search, --beam 1: here it is 5"):
        search(task, model, rows)
    with pytest.raises(BangError, match="needs greedy search, --beam 1: --temperature is given"):
        search(task, model, rows, beam=1, temperature=0.5)


def test_bad_input(reference):
    with pytest.raises(BangError, match="^--draft-width must be at least 1, not 0"):
        build_task(reference.dictionary, decoding="speculative", draft_width=0)
    task = build_task(reference.dictionary, decoding="speculative")
    with pytest.raises(BangError, match="^--decoding speculative needs a BANG model, not Linear"):
        search(task, torch.nn.Linear(1, 1), sources(reference, 1), beam=4)
