"""Properties of the model that must hold whatever its parameters."""

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens

from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel, BangModelConfig
from tests.conftest import build_reference_model, build_task


def test_incremental_decoding_equals_full_forward(model, batch):
    inputs = batch["net_input"]
    full, _ = model(**inputs)
    encoder_out = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
    state = {}
    for step in range(inputs["prev_output_tokens"].size(1)):
        one, _ = model.decoder(inputs["prev_output_tokens"][:, : step + 1], encoder_out, state)
        real = inputs["prev_output_tokens"][:, step].ne(model.decoder.padding_idx)
        torch.testing.assert_close(one[real, 0], full[real, step], atol=1e-5, rtol=0)


def test_incremental_decoding_may_take_several_tokens_at_once(model, batch):
    inputs = batch["net_input"]
    full, _ = model(**inputs)
    encoder_out = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
    state = {}
    for step in (2, 3, 6):
        last, _ = model.decoder(inputs["prev_output_tokens"][:, : step + 1], encoder_out, state)
        real = inputs["prev_output_tokens"][:, step].ne(model.decoder.padding_idx)
        torch.testing.assert_close(last[real, 0], full[real, step], atol=1e-5, rtol=0)


def test_reordered_beams_go_on_as_their_sources(model, batch):
    inputs = batch["net_input"]
    encoder_out = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
    prev, order = inputs["prev_output_tokens"], torch.tensor([2, 0, 0])
    state = {}
    model.decoder(prev[:, :2], encoder_out, state)
    model.decoder.reorder_incremental_state_scripting(state, order)
    reordered, _ = model.decoder(prev[order][:, :3], model.encoder.reorder_encoder_out(encoder_out, order), state)
    full, _ = model(**{name: value[order] for name, value in inputs.items()})
    torch.testing.assert_close(reordered[:, 0], full[:, 2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("left_source", [False, True])
@pytest.mark.parametrize("left_target", [False, True])
def test_padding_side_changes_nothing(model, reference, batch, left_source, left_target):
    pad = reference.dictionary.pad()
    inputs = batch["net_input"]
    strip = lambda rows: [row[row.ne(pad)] for row in rows]
    moved = dict(
        src_tokens=collate_tokens(strip(inputs["src_tokens"]), pad, left_pad=left_source, pad_to_length=14),
        src_lengths=inputs["src_lengths"],
        prev_output_tokens=collate_tokens(
            strip(inputs["prev_output_tokens"]), pad, left_pad=left_target, pad_to_length=11
        ),
    )
    expected, _ = model(**inputs)
    logits, _ = model(**moved)
    here, there = inputs["prev_output_tokens"].ne(pad), moved["prev_output_tokens"].ne(pad)
    torch.testing.assert_close(logits[there], expected[here], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoder_attention_heads": 5}, "--encoder-embed-dim 32 is not a multiple of --encoder-attention-heads 5"),
        ({"decoder_embed_dim": 64}, "shares one embedding"),
    ],
)
def test_sizes_that_do_not_fit(reference, options, message):
    with pytest.raises(BangError, match=message):
        build_reference_model(reference, **options)


def test_two_dictionaries(reference):
    task = build_task(reference.dictionary)
    task.tgt_dict = Dictionary()
    with pytest.raises(BangError, match="--joined-dictionary"):
        BangModel.build_model(BangModelConfig(max_source_positions=40, max_target_positions=40), task)


def test_activation_checkpointing_gives_the_same_gradients(reference, batch):
    gradients = []
    for option in (False, True):
        model = build_reference_model(reference, checkpoint_activations=option)
        model(**batch["net_input"])[0].square().sum().backward()
        gradients.append(
            {name.replace("_checkpoint_wrapped_module.", ""): p.grad for name, p in model.named_parameters()}
        )
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_retained_dropout(reference, batch):
    """fairseq's --retain-dropout: encoder and decoder drop attention weights outside training too."""
    inputs = batch["net_input"]
    for retain in (False, True):
        model = build_reference_model(reference, dropout=0.0, activation_dropout=0.0, attention_dropout=0.5)
        model.make_generation_fast_(retain_dropout=retain)
        model.eval()
        with torch.no_grad():
            encoder_out = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
            again = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
            decoded = [model.decoder(inputs["prev_output_tokens"], encoder_out)[0] for _ in range(2)]
        assert torch.equal(encoder_out["encoder_out"][0], again["encoder_out"][0]) != retain
        assert torch.equal(*decoded) != retain


@pytest.mark.parametrize("option", ["dropout", "attention_dropout", "activation_dropout"])
def test_each_dropout_has_an_effect_in_training_alone(reference, batch, option):
    none = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    inputs = batch["net_input"]
    for probability in (0.0, 0.5):
        model = build_reference_model(reference, **{**none, option: probability}).train()
        memory = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
        again = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
        decoded = [model.decoder(inputs["prev_output_tokens"], memory)[0] for _ in range(2)]
        assert torch.equal(memory["encoder_out"][0], again["encoder_out"][0]) == (probability == 0)
        assert torch.equal(*decoded) == (probability == 0)
        model.eval()
        assert torch.equal(*[model(**inputs)[0] for _ in range(2)])


def test_activation_fn_is_that_of_both_sides(reference):
    model = build_reference_model(reference, activation_fn="relu")
    for layer in (*model.encoder.layers, *model.decoder.layers):
        assert layer.activation_fn(torch.tensor([-0.5])).item() == 0  # gelu's would be -0.15
