"""Beams share what belongs to their sentence."""

import pytest
import torch

from bang_plugin.modules.beams import sentence_order

from ..conftest import build_task
from ..decoding.conftest import write


@pytest.mark.parametrize(
    "order, sentences, beams, expected, each",
    [
        ([0, 0, 1, 1, 2, 2], 3, 1, None, 2),  # fairseq makes beams
        ([1, 0, 2, 2, 5, 4], 3, 2, None, 2),  # beams change places
        ([0, 1, 5, 5], 3, 2, [0, 2], 2),  # a sentence has ended
        ([2, 0], 3, 1, [2, 0], 1),  # no beams
        ([0, 1, 2], 3, 1, None, 1),
        ([], 3, 1, [], 1),
        ([0, 2, 1, 3], 2, 2, [0, 1, 0, 1], 1),  # beams torn apart
    ],
)
def test_sentence_order(order, sentences, beams, expected, each):
    found, count = sentence_order(torch.tensor(order, dtype=torch.long), sentences, beams)
    assert count == each and (None if found is None else found.tolist()) == expected


def test_cross_attention_is_computed_once_per_sentence(reference, model, rows, monkeypatch):
    """Not once per beam, whatever beam a search before it had; the hypotheses are those of a lone sentence."""
    widths = []
    attention = model.decoder.layers[0].encoder_attn
    keys_values = type(attention).keys_values
    monkeypatch.setattr(
        attention, "keys_values", lambda memory: widths.append(memory.size(1)) or keys_values(attention, memory)
    )
    task = build_task(reference.dictionary)
    for beam in (4, 1, 3):
        together = write(task, model, rows, beam=beam)
        assert widths[-1] == len(rows)
        alone = [write(task, model, [row], beam=beam)[0] for row in rows]
        assert [h["tokens"].tolist() for h in together] == [h["tokens"].tolist() for h in alone]
