"""Every command without ``--cpu`` on a pretended GPU: no tensor on the wrong device, and the CPU's words."""

from pathlib import Path

import pytest
import torch

from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel

from ..command_line import fairseq, hypotheses
from ..conftest import SMALL
from ..reliability.conftest import plain_text  # noqa: F401

TRAINING = [option for option in SMALL if option != "--cpu"] + ["--nar-ratio", 0.5, "--seed", 2]
FLEX = ["--attention-dropout", 0, "--decoder-attention-heads", 2]  # its kernels need 16 dimensions a head
RELEASE = ["--task", "translation_bang", "--criterion", "ngram_language_loss_NAR_mixed"]
PRETRAINING = ["--task", "bang_pretraining", "--tokens-per-sample", 20, "--mask-block", 10, "--mask-ratio", 0.3]
MODES = {
    "ar": ["--beam", 3],
    "nar": [],
    "semi_nar": ["--block-size", 3],
    "confident": ["--confidence", 0.5],
    "adaptive": ["--tolerance", 0.5],
    "speculative": [],
}
shown = lambda options: " ".join(map(str, options))
LINES = ["a b c", "h g f e d c b a", "a", "b c d e f"]


@pytest.fixture(autouse=True)
def no_fault(toy_checkpoint, plain_text, pretended_gpu):  # noqa: F811  (trained and written without the GPU)
    yield
    assert not pretended_gpu.faults


def used(gpu, dtype=torch.float32) -> bool:
    """Whether it has multiplied matrices of that type."""
    return any(str(dtype) == of and name in ("mm", "addmm", "bmm") for name, of in gpu.kernels)


def train(data, folder, *options, updates=4):
    """fairseq-train; the checkpoint's path. Updates 1 to 4 train streams and NAR."""
    fairseq("train", data, *TRAINING, "--save-dir", folder, "--max-update", updates, *options)
    return folder / "checkpoint_last.pt"


@pytest.mark.parametrize(
    "options",
    [
        ["--task", "bang", "--ngram", 3],
        [*RELEASE, "--ngram", 3, "--anchors", 2],
        ["--task", "translation_bang_nar", "--criterion", "nstream_loss", "--checkpoint-activations"],
        ["--task", "bang", "--ngram", 2, "--stream-weights", "1,0.5", "--optimizer", "torch_adamw"],
        *(["--task", "bang", "--ngram", 3, "--attention-backend", name] for name in ("dense", "fused", "compact")),
        ["--task", "bang", "--ngram", 3, "--attention-backend", "flex", *FLEX],
    ],
    ids=shown,
)
def test_training(toy_data, tmp_path, pretended_gpu, options):
    train(toy_data / "bin", tmp_path, *options, "--disable-validation")
    assert used(pretended_gpu)
    assert ("flex_attention", "torch.float32") in pretended_gpu.kernels or FLEX[0] not in options


@pytest.mark.parametrize("options", [["--ngram", 3, *FLEX], ["--ngram", 3, "--criterion", RELEASE[-1]]], ids=shown)
def test_pretraining(plain_text, tmp_path, pretended_gpu, options):  # noqa: F811
    train(plain_text, tmp_path, *PRETRAINING, *options, "--nar-ratio", 0, "--disable-validation")
    assert used(pretended_gpu)


@pytest.mark.parametrize(
    "option, dtype",
    [
        ("--fp16", torch.float16),
        ("--memory-efficient-fp16", torch.float16),
        ("--amp", torch.float16),
        ("--bf16", torch.bfloat16),
        ("--memory-efficient-bf16", torch.bfloat16),
    ],
)
def test_precisions(toy_data, tmp_path, pretended_gpu, option, dtype):
    """Trained, validated, begun again, and what comes of it written in the same precision."""
    options = ["--task", "bang", "--ngram", 3, *FLEX, option]
    train(toy_data / "bin", tmp_path, *options, updates=2)
    checkpoint = train(toy_data / "bin", tmp_path, *options, updates=4)
    assert torch.load(checkpoint, weights_only=True)["optimizer_history"][-1]["num_updates"] == 4
    assert used(pretended_gpu, dtype)
    pretended_gpu.reset()
    precision = option.replace("memory-efficient-", "")
    generate = [toy_data / "bin", "--task", "bang", "--path", checkpoint, "--max-len-b", 10]
    found = fairseq("generate", *generate, "--decoding", "nar", *([precision] if precision != "--amp" else []))
    assert len(hypotheses(found)) == 43 and (used(pretended_gpu, dtype) or precision == "--amp")


def test_flex_refuses_small_heads(toy_data, tmp_path):
    with pytest.raises(BangError, match="flex needs 16 dimensions a head on a GPU, here are 8"):
        options = ["--attention-backend", "flex", "--attention-dropout", 0]
        train(toy_data / "bin", tmp_path, "--task", "bang", *options, updates=1)


def test_a_run_begun_on_a_cpu_goes_on(toy_data, tmp_path, pretended_gpu):
    """With the fused kernel of torch's AdamW, whose state then moves too."""
    options = ["--task", "bang", "--ngram", 2, "--optimizer", "torch_adamw", "--disable-validation"]
    train(toy_data / "bin", tmp_path, *options, "--cpu", updates=1)
    assert not used(pretended_gpu)
    train(toy_data / "bin", tmp_path, *options, updates=3)
    assert used(pretended_gpu)


def test_bleu_while_training(toy_data, tmp_path, caplog):
    caplog.set_level("INFO")
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 10}', "--no-save"]
    train(toy_data / "bin", tmp_path, "--task", "bang", "--eval-decodings", ",".join(MODES), *bleu, updates=1)
    assert all(f"{decoding}_bleu" in caplog.text for decoding in MODES)


def test_validate(toy_data, toy_checkpoint, pretended_gpu):
    fairseq("validate", toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--max-tokens", 600)
    assert used(pretended_gpu)


def same(toy_data, checkpoint, gpu, command, *options, stdin=""):
    """The command's hypotheses, which are those with ``--cpu``."""
    base = [toy_data / "bin", "--task", "bang", "--path", checkpoint, "--max-len-b", 12, *options]
    expected = hypotheses(fairseq(command, *base, "--cpu", stdin=stdin))
    assert not used(gpu)
    found = hypotheses(fairseq(command, *base, stdin=stdin))
    assert used(gpu)
    assert {i: text for i, (_, text) in found.items()} == {i: text for i, (_, text) in expected.items()}
    for i, (score, _) in expected.items():
        assert found[i][0] == pytest.approx(score, abs=1e-3)
    return found


@pytest.mark.parametrize(
    "options",
    [
        *(["--decoding", mode, *more] for mode, more in MODES.items()),
        *(["--decoding", mode, "--attention-backend", "compact"] for mode in ("nar", "speculative")),
        ["--decoding", "nar", "--nar-candidates", 4],
        ["--decoding", "nar", "--nar-chunk", 2, "--collapse-repeats", "--print-trace"],
        ["--beam", 4, "--no-repeat-ngram-size", 2, "--nbest", 2],
        ["--prefix-size", 1],
        *(["--score-reference", "--decoding", mode] for mode in ("ar", "nar", "confident")),
        ["--diverse-beam-groups", 2, "--beam", 4],
        ["--decoding", "adaptive", "--compile"],
    ],
    ids=shown,
)
def test_generate(toy_data, toy_checkpoint, pretended_gpu, options):
    if "--attention-backend" in options:
        name = options.pop()
        options = [*options[:-1], "--model-overrides", f"{{'attention_backend': '{name}'}}"]
    assert len(same(toy_data, toy_checkpoint, pretended_gpu, "generate", *options)) == 43


@pytest.mark.parametrize("decoding", MODES)
def test_ensembles(toy_data, toy_checkpoint, pretended_gpu, decoding):
    two = f"{toy_checkpoint}:{toy_checkpoint}"
    same(toy_data, two, pretended_gpu, "generate", "--decoding", decoding, *MODES[decoding])


@pytest.mark.parametrize(
    "options",
    [*(["--decoding", mode, *more] for mode, more in MODES.items()), ["--constraints", "--beam", 3]],
    ids=shown,
)
def test_interactive(toy_data, toy_checkpoint, pretended_gpu, options):
    """Sentences that end at different times, and buffers after the first."""
    lines = [line + "\tG" if "--constraints" in options else line for line in LINES]
    text = "".join(line + "\n" for line in lines)
    options = [*options, "--buffer-size", 3]
    assert list(same(toy_data, toy_checkpoint, pretended_gpu, "interactive", *options, stdin=text)) == [0, 1, 2, 3]


def load(toy_data, checkpoint):
    return BangModel.from_pretrained(str(Path(checkpoint).parent), data_name_or_path=toy_data / "bin")


@pytest.mark.parametrize("decoding", MODES)
def test_from_python(toy_data, toy_checkpoint, pretended_gpu, decoding):
    """A checkpoint that was trained with ``--cpu``; texts, and token ids that lie on either device."""
    options = {"decoding": decoding, "max_len_b": 12, "beam": 2}
    hub = load(toy_data, toy_checkpoint)
    expected = hub.sample(LINES, **options)
    hub.cuda()
    assert hub.sample(LINES, **options) == expected and used(pretended_gpu)
    ids = [hub.encode(line) for line in LINES]
    for tokens in (ids, [t.cuda() for t in ids], [ids[0].cuda(), *ids[1:]], ids[0].cuda()):
        found = hub.generate(tokens, **options)
        texts = [h["text"] for h in found[:1]] if torch.is_tensor(tokens) else [h[0]["text"] for h in found]
        assert texts == expected[: len(texts)]
    hub.half()
    hub.sample(LINES, **options)
    assert used(pretended_gpu, torch.float16)


def test_score_from_python(toy_data, toy_checkpoint):
    hub = load(toy_data, toy_checkpoint)
    expected = [found["score"].item() for found in hub.score(LINES, LINES[::-1])]
    assert [found["score"].item() for found in hub.cuda().score(LINES, LINES[::-1])] == pytest.approx(
        expected, abs=1e-4
    )


def test_weights_are_packed_for_a_cpu_only_if_they_stay_there(toy_data, toy_checkpoint, pretended_gpu):
    folder, data = str(Path(toy_checkpoint).parent), toy_data / "bin"
    hub = BangModel.from_pretrained(folder, data_name_or_path=data, cpu=True)
    expected = hub.sample(LINES, max_len_b=12)
    with pytest.raises(BangError, match="load it anew"):
        hub.cuda()
    assert load(toy_data, toy_checkpoint).cuda().sample(LINES, max_len_b=12) == expected
