"""fairseq's commands with this plugin, end to end on toy data."""

import subprocess
import sys

import pytest
import torch

from bang_plugin.errors import BangError

from .command_line import PLUGIN, fairseq, hypotheses
from .conftest import SMALL, train_toy

MODES = ["ar", "nar", "semi_nar", "confident", "adaptive", "speculative"]


def generate(toy_data, checkpoint, *options):
    output = fairseq("generate", toy_data / "bin", "--task", "bang", "--path", checkpoint, "--cpu", *options)
    return hypotheses(output), output


def interactive(toy_data, checkpoint, lines, *options):
    base = [toy_data / "bin", "--task", "bang", "--path", checkpoint, "--cpu", "--buffer-size", 64]
    output = fairseq("interactive", *base, *options, stdin="".join(line + "\n" for line in lines))
    return hypotheses(output)


@pytest.mark.parametrize("decoding", MODES)
def test_generate_writes_every_line_once(toy_data, toy_checkpoint, decoding):
    found, output = generate(toy_data, toy_checkpoint, "--decoding", decoding, "--max-len-b", 15)
    assert sorted(found) == list(range(43))
    assert "Generate test" in output


def test_generate_with_compiled_layers(toy_data, toy_checkpoint, compiled_quickly):
    options = ["--decoding", "nar", "--max-len-b", 15]
    compiled, _ = generate(toy_data, toy_checkpoint, *options, "--compile")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    plain, _ = generate(toy_data, toy_checkpoint, *options)
    assert {i: text for i, (_, text) in compiled.items()} == {i: text for i, (_, text) in plain.items()}


def test_training_learns_both_modes(toy_data, toy_checkpoint):
    references = (toy_data / "test.tgt").read_text().splitlines()
    for decoding in ("ar", "nar"):
        found, _ = generate(toy_data, toy_checkpoint, "--decoding", decoding, "--max-len-b", 15)
        right = sum(
            a == b for i, reference in enumerate(references) for a, b in zip(found[i][1].split(), reference.split())
        )
        assert right > 0.3 * sum(len(r.split()) for r in references)  # chance is 1 in 8


def test_plain_translation_task(toy_data, toy_checkpoint):
    # fairseq's own task would drop the sentences that do not fill a batch; ours keeps them whatever is asked
    base = [toy_data / "bin", "--path", toy_checkpoint, "--cpu", "--beam", 3, "--required-batch-size-multiple", 1]
    plain = hypotheses(fairseq("generate", *base, "--task", "translation"))
    ours = hypotheses(fairseq("generate", *base, "--task", "bang"))
    assert {i: text for i, (_, text) in plain.items()} == {i: text for i, (_, text) in ours.items()}
    for i, (score, _) in plain.items():
        assert score == pytest.approx(ours[i][0], abs=1e-4)


def test_validate(toy_data, toy_checkpoint, caplog):
    caplog.set_level("INFO")
    fairseq("validate", toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--cpu", "--max-tokens", 500)
    assert "ar_accuracy" in caplog.text and "nar_accuracy" in caplog.text


@pytest.mark.parametrize("decoding", MODES)
def test_interactive_answers_every_line_in_order(toy_data, toy_checkpoint, decoding):
    lines = ["a b c", "", "h g f e d c b a", "unknown symbols ü", "   ", "a"]
    options = ["--decoding", decoding, "--max-len-b", 15]
    one_by_one = interactive(toy_data, toy_checkpoint, lines, *options, "--batch-size", 1)
    together = interactive(toy_data, toy_checkpoint, lines, *options, "--batch-size", 6)
    assert list(one_by_one) == list(together) == list(range(6))
    for i in one_by_one:
        assert one_by_one[i][1] == together[i][1]
        assert one_by_one[i][0] == pytest.approx(together[i][0], abs=1e-4)


@pytest.mark.parametrize("decoding", ["ar", "nar"])
def test_long_sources(toy_data, toy_checkpoint, decoding):
    lines = ["a b", " ".join("abcdefgh" * 5)]
    options = ["--decoding", decoding, "--max-len-b", 15]
    with pytest.raises(BangError, match=r"line 2: .*41.*--truncate-source"):
        interactive(toy_data, toy_checkpoint, lines, *options)
    cut = interactive(toy_data, toy_checkpoint, lines, *options, "--truncate-source")
    same = interactive(toy_data, toy_checkpoint, [lines[0], lines[1][: 2 * 19]], *options)
    for i in same:
        assert cut[i][1] == same[i][1]
        assert cut[i][0] == pytest.approx(same[i][0], abs=1e-4)


@pytest.mark.parametrize(
    "option",
    [
        ["--prefix-size", 1],
        ["--diverse-beam-groups", 2],
        ["--match-source-len"],
        ["--print-alignment"],
    ],
)
def test_options_without_meaning_for_nar(toy_data, toy_checkpoint, option):
    with pytest.raises(BangError, match=option[0]):
        generate(toy_data, toy_checkpoint, "--decoding", "nar", *option)


@pytest.mark.parametrize(
    "option",
    [
        ["--beam", 4, "--lenpen", 2.0],
        ["--sampling", "--beam", 2, "--nbest", 2],
        ["--no-repeat-ngram-size", 1],
        ["--no-repeat-ngram-size", 2],
        ["--prefix-size", 2],
        ["--diverse-beam-groups", 2, "--beam", 4],
    ],
)
def test_options_of_sequence_generator(toy_data, toy_checkpoint, option):
    found, _ = generate(toy_data, toy_checkpoint, "--max-len-b", 15, *option)
    assert sorted(found) == list(range(43))
    if "--prefix-size" in option:
        for i, reference in enumerate((toy_data / "test.tgt").read_text().splitlines()):
            assert found[i][1].split()[:2] == reference.split()[:2]
    if "--no-repeat-ngram-size" in option:
        for _, text in found.values():
            ngrams = list(zip(*(text.split()[k:] for k in range(option[1]))))
            assert len(set(ngrams)) == len(ngrams)


def test_constraints(toy_data, toy_checkpoint):
    lines = ["a b c\tG", "a b\tH\tF"]
    found = interactive(toy_data, toy_checkpoint, lines, "--constraints", "--max-len-b", 15, "--beam", 4)
    assert "G" in found[0][1].split() and {"H", "F"} <= set(found[1][1].split())


@pytest.mark.parametrize("decoding", ["ar", "nar"])
def test_ensemble_of_a_model_with_itself_changes_nothing(toy_data, toy_checkpoint, decoding):
    options = ["--decoding", decoding, "--max-len-b", 15]
    single, _ = generate(toy_data, toy_checkpoint, *options)
    double, _ = generate(toy_data, f"{toy_checkpoint}:{toy_checkpoint}", *options)
    assert {i: text for i, (_, text) in single.items()} == {i: text for i, (_, text) in double.items()}
    for i in single:
        assert single[i][0] == pytest.approx(double[i][0], abs=1e-4)


def test_collapse_repeats(toy_data, toy_checkpoint):
    options = ["--decoding", "nar", "--max-len-b", 15]
    plain, _ = generate(toy_data, toy_checkpoint, *options)
    collapsed, _ = generate(toy_data, toy_checkpoint, *options, "--collapse-repeats")
    assert any(plain[i] != collapsed[i] for i in plain)
    for i, (_, text) in plain.items():
        tokens = text.split()
        kept = [token for k, token in enumerate(tokens) if k == 0 or token != tokens[k - 1]]
        assert collapsed[i][1].split() == kept


@pytest.mark.parametrize("decoding", ["ar", "nar"])
def test_validation_decodes(toy_data, tmp_path, caplog, decoding):
    caplog.set_level("INFO")
    base = [toy_data / "bin", "--task", "bang", "--save-dir", tmp_path, "--max-update", 2]
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 10}', "--no-save"]
    fairseq("train", *base, *SMALL, *bleu, "--decoding", decoding)
    assert "bleu" in caplog.text


@pytest.mark.parametrize("precision", [["--amp"], ["--memory-efficient-fp16"]])  # fairseq's plain --fp16 needs a GPU
def test_half_precision_trains(toy_data, tmp_path, precision):
    checkpoint = train_toy(toy_data, tmp_path, 3, *precision, "--nar-ratio", 0.5)
    before = train_toy(toy_data, tmp_path / "full", 3, "--nar-ratio", 0.5)
    ours, full = (torch.load(path, weights_only=True)["model"] for path in (checkpoint, before))
    for name, value in ours.items():
        torch.testing.assert_close(value.float(), full[name].float(), atol=0.02, rtol=0.05)


def test_resuming_equals_going_on(toy_data, tmp_path):
    straight = train_toy(toy_data, tmp_path / "a", 6, "--nar-ratio", 0.5, "--dropout", 0.1)
    train_toy(toy_data, tmp_path / "b", 3, "--nar-ratio", 0.5, "--dropout", 0.1)
    resumed = train_toy(toy_data, tmp_path / "b", 6, "--nar-ratio", 0.5, "--dropout", 0.1)
    a, b = (torch.load(path, weights_only=True)["model"] for path in (straight, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_unknown_decoding(toy_data, toy_checkpoint):
    with pytest.raises(BangError, match="^--decoding specul: choose one of ar, nar.*; did you mean speculative"):
        generate(toy_data, toy_checkpoint, "--decoding", "specul")


def test_errors_are_one_line(toy_data, tmp_path):
    """In a process of its own: what a user sees of a ``BangError``."""
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a checkpoint")
    program = "from fairseq_cli.generate import cli_main; cli_main()"
    arguments = [toy_data / "bin", "--user-dir", PLUGIN, "--task", "bang", "--path", broken, "--cpu"]
    run = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith(f"error: --path {broken}: not a whole checkpoint file")


@pytest.mark.parametrize("precision", ["--fp16", "--bf16"])
def test_half_precision_needs_a_gpu_in_training(toy_data, tmp_path, precision):
    with pytest.raises(BangError, match=f"{precision} needs a GPU"):
        train_toy(toy_data, tmp_path, 1, precision)


def test_one_process_on_the_cpu_of_a_machine_with_gpus(toy_data, tmp_path, monkeypatch, caplog):
    """fairseq's default is a process for every GPU, even with --cpu."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    caplog.set_level("INFO")
    train_toy(toy_data, tmp_path, 1, "--distributed-world-size", 3)
    assert "done training" in caplog.text
