"""``--lm-path`` with ``--nar-candidates``: AR's and the language model's log-probabilities, added by hand."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig

from bang_plugin.errors import BangError

from .conftest import write_all
from .test_lookahead import random_model, sources
from .test_scoring import score

N = 6


def language_model(dictionary):
    torch.manual_seed(3)
    sizes = {"decoder_embed_dim": 16, "decoder_ffn_embed_dim": 16, "decoder_layers": 1, "decoder_attention_heads": 2}
    cfg = TransformerLanguageModelConfig(**sizes, share_decoder_input_output_embed=True)
    cfg.decoder_input_dim = cfg.decoder_output_dim = 16
    cfg.tokens_per_sample = cfg.max_target_positions = 64
    built = TransformerLanguageModel.build_model(
        cfg, SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    )
    with torch.no_grad():
        built.decoder.embed_tokens.weight.mul_(20)
    return built.eval()


def write(task, model, rows, lm, **options):
    tokens = collate_tokens(rows, task.source_dictionary.pad(), left_pad=True)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
    args = Namespace(max_len_b=12, **options)
    return task.inference_step(
        task.build_generator([model], args, extra_gen_cls_kwargs={"lm_model": lm}), [model], sample
    )


@pytest.mark.parametrize("lenpen", [0.5, 1.0])
def test_the_sum_by_hand(make_task, reference, lenpen):
    model, rows, d = random_model(reference, 3), sources(reference, 6), reference.dictionary
    lm, task, changed = language_model(d), make_task(decoding="nar", nar_candidates=N), 0
    chains = write_all(make_task(decoding="nar"), model, rows, nbest=N, max_len_b=12, lenpen=lenpen)
    found = write(task, model, rows, lm, lm_path="lm.pt", lm_weight=0.7, lenpen=lenpen)
    alone = write(task, model, rows, None, lenpen=lenpen)
    for row, candidates, (best,), (without,) in zip(rows, chains, found, alone):
        expected = []
        for tokens in (h["tokens"] for h in candidates):
            [ar] = score(make_task(), model, [row], [tokens])
            logits, _ = lm(torch.cat([tokens[-1:], tokens[:-1]]).unsqueeze(0))
            by_lm = logits[0].log_softmax(-1).gather(1, tokens.unsqueeze(1)).squeeze(1)
            scores = ar["positional_scores"] + 0.7 * by_lm
            expected.append((float(scores.sum() / len(tokens) ** lenpen), tokens.tolist(), scores))
        total, tokens, scores = max(expected, key=lambda found: found[0])
        assert best["tokens"].tolist() == tokens and float(best["score"]) == pytest.approx(total, abs=1e-4)
        torch.testing.assert_close(best["positional_scores"], scores, atol=1e-4, rtol=0)
        changed += best["tokens"].tolist() != without["tokens"].tolist()
    assert changed > 0


def test_refused(make_task, reference):
    model, rows = random_model(reference, 3), sources(reference, 2)
    asked = {"lm_path": "lm.pt", "lm_weight": 0.5}
    with pytest.raises(BangError, match="^--lm-path judges --nar-candidates"):
        write(make_task(decoding="nar"), model, rows, language_model(reference.dictionary), **asked)
    other = Dictionary()
    with pytest.raises(BangError, match=f"^--lm-path: .* {len(other)} symbols, .* {len(reference.dictionary)}"):
        write(make_task(decoding="nar", nar_candidates=2), model, rows, language_model(other), **asked)
    with pytest.raises(BangError, match="^--lm-path lm.pt: only fairseq-generate"):
        write(make_task(decoding="nar", nar_candidates=2), model, rows, None, **asked)
    with pytest.raises(BangError, match="^--lm-path lm.pt needs --decoding ar or nar or speculative"):
        write(make_task(decoding="semi_nar"), model, rows, None, lm_path="lm.pt")
