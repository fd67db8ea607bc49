"""The criterion's options and its choice between AR and NAR."""

import pytest
import torch
import torch.nn.functional as F

from bang_plugin.criterions.nstream_loss import NStreamLoss, smoothed_cross_entropy, trains_nar
from bang_plugin.errors import BangError


def test_label_smoothing_is_torchs():
    logits, target = torch.randn(5, 7), torch.randint(7, (5,))
    loss, nll = smoothed_cross_entropy(logits, target, 0.3)
    torch.testing.assert_close(loss.sum(), F.cross_entropy(logits, target, label_smoothing=0.3, reduction="sum"))
    torch.testing.assert_close(nll.sum(), F.cross_entropy(logits, target, reduction="sum"))


def test_nar_updates_follow_ratio_seed_and_update():
    drawn = [trains_nar(0.3, 1, update) for update in range(2000)]
    assert 0.26 < sum(drawn) / 2000 < 0.34
    assert drawn == [trains_nar(0.3, 1, update) for update in range(2000)]
    assert drawn != [trains_nar(0.3, 2, update) for update in range(2000)]
    assert not any(trains_nar(0.0, 1, update) for update in range(100))
    assert all(trains_nar(1.0, 1, update) for update in range(100))


def test_training_and_validation_modes(model, batch, make_task):
    criterion = NStreamLoss(make_task(), nar_ratio=0.25)
    _, _, log = criterion(model, batch)
    ar, _, _ = NStreamLoss(make_task(), nar_ratio=0.0)(model, batch)
    nar, _, _ = NStreamLoss(make_task(), nar_ratio=1.0)(model, batch)
    assert log["loss"] == pytest.approx(0.75 * ar.item() + 0.25 * nar.item())
    model.train()
    for update in range(8):
        model.set_num_updates(update)
        _, _, log = criterion(model, batch)
        assert ("nar_loss" in log) == trains_nar(0.25, 1, update)
        assert ("ar_loss" in log) != ("nar_loss" in log)


def test_sentence_average(model, batch, make_task):
    _, by_token, _ = NStreamLoss(make_task())(model, batch)
    _, by_sentence, _ = NStreamLoss(make_task(), sentence_avg=True)(model, batch)
    assert (by_token, by_sentence) == (17, 3)


@pytest.mark.parametrize("option", ["nar_ratio", "label_smoothing"])
def test_values_out_of_range(make_task, option):
    with pytest.raises(BangError, match=f"--{option.replace('_', '-')} must lie between 0 and 1, not 1.5"):
        NStreamLoss(make_task(), **{option: 1.5})
