"""What pretraining masks: the release's numbers, the same whoever draws them."""

import numpy as np
import pytest
import torch
from fairseq.data import ListDataset

from bang_plugin.data.span_masking import SpanMasking, SpanMaskingDataset
from bang_plugin.errors import BangError

MASK, PAD, VOCAB, FIRST = 4, 1, 1000, 10
MASKING = SpanMasking(mask=MASK, vocab_size=VOCAB, first_random=FIRST)


def blocks(count, length=512):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(FIRST, VOCAB, (length,), generator=generator) for _ in range(count)]


def dataset(samples, masking=MASKING, seed=1, epoch=1):
    masked = SpanMaskingDataset(ListDataset(samples, [len(s) for s in samples]), masking, PAD, seed)
    masked.set_epoch(epoch)
    return masked


def test_one_span_of_nine_in_every_64_tokens_from_the_second_on():
    starts = []
    for draw in range(300):
        spans = MASKING.spans(512, np.random.default_rng(draw))
        assert len(spans) == 8
        for k, (start, end) in enumerate(spans):
            first, last = 1 + 64 * k, min(1 + 64 * (k + 1), 512)
            assert first <= start and end <= last and end - start == 9
            starts.append(start - first)
    # every place occurs: 56 of them, 54 in the last, shorter block
    assert set(starts) == set(range(56))


def test_short_blocks():
    assert MASKING.spans(1, np.random.default_rng(0)) == []
    assert MASKING.spans(7, np.random.default_rng(0)) == []  # int(0.15 * 6) = 0
    ((start, end),) = MASKING.spans(8, np.random.default_rng(0))
    assert end - start == 1 and 1 <= start < 8


def test_sample_tells_the_truth():
    samples = blocks(3)
    for tokens, sample in zip(samples, dataset(samples)):
        place = sample["positions"] - PAD  # the input before token i stands at pad + i
        assert torch.equal(sample["target"], tokens[place])
        assert torch.equal(sample["prev"], tokens[place - 1])
        masked = torch.zeros(512, dtype=torch.bool)
        masked[place] = True
        assert masked.sum() == 8 * 9 == len(sample["target"])
        assert torch.equal(sample["source"][~masked], tokens[~masked])
        assert sample["remaining"].tolist() == list(range(9, 0, -1)) * 8


def test_80_10_10():
    samples = blocks(200)
    masked = kept = others = 0
    for sample in dataset(samples):
        seen = sample["source"][sample["positions"] - PAD]
        masked += (seen == MASK).sum().item()
        kept += (seen == sample["target"]).sum().item()
        others += ((seen != MASK) & (seen != sample["target"])).sum().item()
        assert (seen[seen != MASK] >= FIRST).all()
    total = masked + kept + others
    assert total == 200 * 72
    assert masked / total == pytest.approx(0.8, abs=0.02)
    assert kept / total == pytest.approx(0.1, abs=0.02)
    assert others / total == pytest.approx(0.1, abs=0.02)


def test_draws_follow_seed_epoch_and_index():
    same = [blocks(1)[0]] * 2

    def source(**options):
        return [sample["source"] for sample in dataset(same, **options)]

    assert all(torch.equal(a, b) for a, b in zip(source(), source()))
    first, second = source()
    assert not torch.equal(first, second)
    assert not torch.equal(first, source(seed=2)[0])
    assert not torch.equal(first, source(epoch=2)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_draws_the_same(workers):
    masked = dataset(blocks(12, 100))

    def batches(count):
        loader = torch.utils.data.DataLoader(masked, 3, collate_fn=masked.collater, num_workers=count)
        return [batch["net_input"]["src_tokens"] for batch in loader]

    assert all(torch.equal(a, b) for a, b in zip(batches(0), batches(workers)))


def test_batch():
    batch = dataset(blocks(1, 130) + blocks(1, 60)).collater(
        [dataset(blocks(1, 130) + blocks(1, 60))[i] for i in (0, 1)]
    )
    inputs = batch["net_input"]
    assert inputs["src_tokens"].shape == (2, 130) and inputs["src_lengths"].tolist() == [130, 60]
    shapes = {batch[key].shape for key in ("target", "remaining")}
    shapes |= {inputs[key].shape for key in ("prev_output_tokens", "positions")}
    assert shapes == {(2, 18)}  # a third block of 1 token is too short for a span
    padding = batch["target"].eq(PAD)
    assert padding[1].sum() == 10 and not padding[0].any()  # int(0.15 * 59) = 8 tokens
    assert batch["remaining"][padding].eq(0).all() and inputs["prev_output_tokens"][padding].eq(PAD).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"block": 0}, "--mask-block must be at least 1"),
        ({"ratio": 0.0}, "--mask-ratio must lie between 0 and 1"),
        ({"ratio": 1.5}, "--mask-ratio must lie between 0 and 1"),
        ({"mask_prob": 0.8, "random_prob": 0.3}, "must be shares of 1"),
        ({"random_prob": -0.1}, "must be shares of 1"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(BangError, match=message):
        SpanMasking(mask=MASK, vocab_size=VOCAB, first_random=FIRST, **options)


def test_options_change_the_masks():
    whole = SpanMasking(
        mask=MASK, vocab_size=VOCAB, first_random=FIRST, block=10, ratio=0.5, mask_prob=1, random_prob=0
    )
    (sample,) = dataset(blocks(1, 31), whole)
    assert len(sample["target"]) == 15 and (sample["source"] == MASK).sum() == 15
