"""Passes of fairseq's search, as they are told to who has subscribed."""

from argparse import Namespace

import pytest
import torch

from bang_plugin.decoding import Observer, subscribe

SEARCHES = [
    ({"decoding": "ar"}, {"beam": 1}),
    ({"decoding": "ar"}, {"beam": 4}),
    ({"decoding": "ar"}, {"beam": 4, "diverse_beam_groups": 2, "diverse_beam_strength": 0.5}),
    ({"decoding": "ar"}, {"beam": 1, "sampling": True, "sampling_topk": 5}),
    ({"decoding": "speculative", "draft_width": 3, "block_size": 3}, {"beam": 4}),
    ({"decoding": "speculative", "draft_width": 3, "block_size": 3}, {"beam": 1, "temperature": 0.7}),
]


class Kept(Observer):
    """Tokens, log-probabilities and numbers of passes by sentence."""

    def __init__(self, size):
        self.tokens, self.scores, self.passes = ([[] for _ in range(size)] for _ in range(3))
        self.calls = 0

    def on_pass(self, event):
        self.calls += 1
        for place, row in enumerate(event.rows):
            n = event.kept[place]
            self.tokens[row] += event.tokens[place, :n].tolist()
            self.scores[row] += event.log_probabilities[place, :n].tolist()
            self.passes[row] += [event.number] * bool(n)


@pytest.mark.parametrize("options, args", SEARCHES)
def test_what_is_told_is_how_the_answer_begins(make_task, model, batch, options, args):
    task = make_task(**options)
    generator = task.build_generator([model], Namespace(**args, max_len_b=15))
    size = len(batch["net_input"]["src_tokens"])
    with subscribe(Kept(size)) as told:
        found = [hypotheses[0] for hypotheses in generator.generate([model], batch)]
    for i, best in enumerate(found):
        n = len(told.tokens[i])
        assert told.tokens[i] == best["tokens"][:n].tolist()
        if "diverse_beam_groups" not in args:  # whose scores hold penalties that differ between beams
            assert told.scores[i] == pytest.approx(best["positional_scores"][:n].tolist(), abs=1e-4)
        assert told.passes[i] == sorted(set(told.passes[i]))
        if args["beam"] == 1 and options["decoding"] == "ar":
            assert n == len(best["tokens"]) and told.passes[i] == list(range(1, n + 1))
    assert told.calls > 0 and (any(told.tokens) or "diverse_beam_groups" in args)
    assert "step" not in vars(generator.search)


def test_an_observer_may_end_a_search(make_task, model, batch):
    class Enough(Exception):
        pass

    class Ends(Observer):
        def on_pass(self, event):
            raise Enough

    generator = make_task(decoding="ar").build_generator([model], Namespace(beam=2, max_len_b=15))
    before = generator.generate([model], batch)
    with pytest.raises(Enough), subscribe(Ends()):
        generator.generate([model], batch)
    after = generator.generate([model], batch)
    assert [h[0]["tokens"].tolist() for h in before] == [h[0]["tokens"].tolist() for h in after]


@pytest.mark.parametrize("options, args", SEARCHES)
def test_who_wants_no_tokens_is_told_of_the_passes_alone(make_task, model, batch, options, args):
    class Passes(Observer):
        tokens = False

        def __init__(self):
            self.numbers = []

        def on_pass(self, event):
            assert not len(event.rows)
            self.numbers.append(event.number)

    generator = make_task(**options).build_generator([model], Namespace(**args, max_len_b=15))
    with subscribe(Passes()) as told:
        torch.manual_seed(1)
        with_it = generator.generate([model], batch)
    torch.manual_seed(1)
    without = generator.generate([model], batch)
    for a, b in zip(with_it, without):
        assert a[0]["tokens"].tolist() == b[0]["tokens"].tolist()
    assert told.numbers == sorted(told.numbers) and told.numbers[-1] >= max(h[0]["passes"] for h in with_it)
