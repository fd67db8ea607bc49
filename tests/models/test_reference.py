"""The model equals the official release, number for number."""

import argparse

import pytest
import torch

from bang_plugin.criterions.nstream_loss import NStreamLoss

CLOSE = dict(atol=1e-4, rtol=0)


def real_rows(reference):
    return reference.io["target"].ne(reference.dictionary.pad())


def test_encoder_output(model, reference, batch):
    inputs = batch["net_input"]
    out = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])["encoder_out"][0]
    real = inputs["src_tokens"].ne(reference.dictionary.pad()).T
    torch.testing.assert_close(out[real], reference.io["encoder_out"][real], **CLOSE)


def test_ar_logits(model, reference, batch):
    logits, _ = model(**batch["net_input"])
    rows = real_rows(reference)
    torch.testing.assert_close(logits[rows], reference.io["ar_logits"][rows], **CLOSE)


def test_nar_logits(model, reference, batch):
    rows = real_rows(reference)
    inputs = batch["net_input"]
    inputs["prev_output_tokens"], streams = model.decoder.whole_outputs(
        inputs["prev_output_tokens"], rows.cumsum(1) * rows
    )
    logits, _ = model(**inputs, streams=streams)
    torch.testing.assert_close(logits[rows], reference.io["nar_logits"][rows], **CLOSE)


@pytest.mark.parametrize("mode", ["ar", "nar"])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("training", [False, True])
def test_losses(model, reference, batch, make_task, mode, epsilon, training):
    criterion = NStreamLoss(make_task(), nar_ratio=float(mode == "nar"), label_smoothing=epsilon)
    if training:  # the path of fairseq-train; without dropout the numbers must be those of validation
        for module in model.modules():
            if hasattr(module, "p"):
                module.p = 0.0
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
            if hasattr(module, "dropout_module"):
                module.dropout_module.p = 0.0
        model.train()
    loss, sample_size, _ = criterion(model, batch)
    expected, expected_size = reference.meta["losses_sum_and_sample_size"][f"{mode}_eps{epsilon}"]
    assert sample_size == expected_size
    assert loss.item() == pytest.approx(expected, abs=1e-4 * expected_size)


def generation(**options):
    return argparse.Namespace(max_len_a=0, **options)


def strip(tokens, pad):
    return tokens[tokens.ne(pad)].tolist()


@pytest.mark.parametrize("beam", [1, 4])
def test_beam_search(model, reference, batch, make_task, beam):
    meta, io = reference.meta, reference.io
    lenpen = meta["lenpen"] if beam > 1 else 1.0
    args = generation(beam=beam, lenpen=lenpen, max_len_b=meta["beam_max_len_b"])
    task = make_task()
    hypotheses = task.inference_step(task.build_generator([model], args), [model], batch)
    kind = "beam" if beam > 1 else "greedy"
    tokens = io[f"{kind}_tokens"].view(len(hypotheses), beam, -1)
    scores = io[f"{kind}_scores"].view(len(hypotheses), beam)
    for sentence, expected, expected_scores in zip(hypotheses, tokens, scores):
        assert [h["tokens"].tolist() for h in sentence] == [strip(t, meta["pad"]) for t in expected]
        got = torch.stack([h["score"] for h in sentence]).double()
        torch.testing.assert_close(got, expected_scores, **CLOSE)


def test_nar_tokens(model, reference, batch, make_task):
    meta = reference.meta
    args = generation(beam=1, max_len_b=meta["nar_max_length"], min_len=0)
    for chunk in (1, 5, 64):
        task = make_task(decoding="nar", nar_chunk=chunk)
        hypotheses = task.inference_step(task.build_generator([model], args), [model], batch)
        for (hypothesis,), masks in zip(hypotheses, reference.io["nar_tokens"].tolist()):
            end = masks.index(meta["eos"]) if meta["eos"] in masks else len(masks)
            assert hypothesis["tokens"].tolist() == masks[:end] + [meta["eos"]]
