"""A user's mistakes end fairseq's commands in one line; a fault of the code keeps its traceback."""

import re
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from fairseq.trainer import Trainer

from bang_plugin.errors import BangError
from bang_plugin.guards import last_line
from tests.command_line import PLUGIN, fairseq
from tests.conftest import SMALL, train_toy

PREPROCESS = "preprocess --task bang --source-lang src --target-lang tgt --joined-dictionary"
GENERATE, INTERACTIVE = (f"{name} DATA --task bang --path MODEL --cpu" for name in ("generate", "interactive"))
VALIDATE = "validate DATA --task bang --path MODEL --cpu"
TRAIN = "train DATA --task bang --save-dir OUT --no-save --max-update 1 --disable-validation " + " ".join(
    map(str, SMALL)
)
RESUME = TRAIN.replace("OUT --no-save --max-update 1", "SAVED --no-save --max-update 999")


def without(option: str, command: str = TRAIN) -> str:
    return re.sub(f" {option} [^ ]+", "", command)


MISTAKES = {  # what is typed, and the last line, where FILES stand for those of the fixture `places`
    # a value
    f"{TRAIN} --lr 0.1,,x": "--lr 0.1,,x: invalid syntax",
    f"{TRAIN} --adam-betas (0.9": "--adam-betas (0.9: '(' was never closed",
    f"{TRAIN} --adam-betas 0.9": "--adam-betas 0.9: not two numbers, as in '(0.9, 0.98)'",
    f"{TRAIN} --dropout 1.5": "--dropout 1.5: dropout probability has to be between 0 and 1, but got 1.5",
    f"{TRAIN} --num-workers -1": "--num-workers -1: must not be negative",
    f"{TRAIN} --update-freq 0": "--update-freq 0: must be at least 1",
    f"{TRAIN} --required-batch-size-multiple 0": "--required-batch-size-multiple 0: must be at least 1",
    f"{TRAIN} --max-tokens 0": "train: none of its 300 sentences is short enough for .* --max-tokens",
    f"{GENERATE} --max-tokens 3": "Sentences lengths should not exceed max_tokens=3: raise --max-tokens .*",
    f"{TRAIN} --eval-bleu --eval-bleu-args {{beam:1}}": "--eval-bleu-args {beam:1}: .*; write JSON, .*",
    f"{GENERATE} --model-overrides nope": "--model-overrides nope: names and texts need quotation marks.*",
    f"{TRAIN} --save-dir x\\": r"--save-dir x\: fairseq cannot read this value.*",
    f"{TRAIN} --save-dir ${{x}}": "--save-dir: there is no x that ${x} could stand for",
    f"{TRAIN} --eval-bleu --eval-bleu-detok mosse": "--eval-bleu-detok mosse: choose one of moses, nltk, space",
    # an option that is missing
    without("--arch"): "--arch is missing: try bang_base",
    without("--optimizer"): "--optimizer is missing",
    without("--max-tokens"): "Must specify batch size either with --max-tokens or --batch-size",
    without("--path MODEL", GENERATE).replace(" --path MODEL", ""): "--path required for generation!",
    f"{PREPROCESS} --destdir OUT": "--trainpref must be set if --srcdict is not specified",
    f"{TRAIN} --lr-scheduler polynomial_decay": "--lr-scheduler polynomial_decay needs --total-num-update",
    f"{TRAIN} --lr-scheduler tri_stage": "--lr-scheduler tri_stage: please specify steps or phase_ratio",
    f"{INTERACTIVE} --tokenizer moses": "--tokenizer moses needs --source-lang",
    f"{INTERACTIVE} --bpe sentencepiece": "--bpe sentencepiece needs --sentencepiece-model",
    # a file that is missing, or another kind of file
    f"{INTERACTIVE} --bpe sentencepiece --sentencepiece-model nope": "--sentencepiece-model nope: no such file",
    f"{INTERACTIVE} --bpe sentencepiece --sentencepiece-model TEXT": ".* TEXT: not a sentencepiece model",
    f"{INTERACTIVE} --bpe fastbpe --bpe-codes nope": "--bpe-codes nope: no such file",
    f"{INTERACTIVE} --input nope": "--input nope: No such file or directory",
    f"{GENERATE} --lm-path nope": "--lm-path nope: no such checkpoint",
    f"{TRAIN} --restore-file nope": "--restore-file nope: no such checkpoint",
    f"{without('--path', GENERATE)} --path nope": "--path nope: no such checkpoint",
    f"{GENERATE} --decoding nra": "--decoding nra: choose one of ar, nar, .*; did you mean nar.*",
    f"{GENERATE} --lm-path MODEL": "--lm-path MODEL: not a language model",
    f"{GENERATE} --gen-subset nope": "Dataset not found: nope .*--gen-subset",
    f"{TRAIN} --restore-file TEXT": "--restore-file TEXT: not a whole checkpoint file.*",
    f"{TRAIN} --load-from-pretrained-model nope": "--load-from-pretrained-model nope: No such file or directory",
    f"{TRAIN} --log-file TEXT/log": "--log-file TEXT/log: Not a directory",
    f"{TRAIN} --save-dir TEXT": "--save-dir TEXT: Not a directory",
    f"{PREPROCESS} --trainpref nope --destdir OUT": "--trainpref nope: nope.*: No such file or directory",
    f"{PREPROCESS} --trainpref TRAIN --source-lang xx --destdir OUT": "--trainpref TRAIN: TRAIN.xx: No such file or .*",
    f"{PREPROCESS} --trainpref TRAIN --destdir DATA": "--destdir DATA: DATA/dict.src.txt is there already",
    f"{PREPROCESS} --trainpref TRAIN --destdir TEXT": "--destdir TEXT: File exists",
    # an optional package or its data
    f"{GENERATE} --scoring bert_score": "--scoring bert_score: Please install BERTScore: pip install bert-score",
    f"{TRAIN} --eval-bleu --eval-bleu-detok moses": "--eval-bleu-detok moses: .*pip install sacremoses",
    f"{TRAIN} --ddp-backend fully_sharded": ".*pip install fairscale",
    f"{TRAIN} --model-parallel-size 2": "Please install the megatron submodule: .*",
    # parts that do not go together
    f"{TRAIN} --criterion masked_lm": "--criterion masked_lm does not go with .*: try nstream_loss",
    f"{TRAIN} --lr-scheduler inverse_sqrt --lr 0.1,0.2": ".*Consider --lr-scheduler=fixed instead.",
    f"{PREPROCESS} --trainpref x --srcdict x --tgtdict y --destdir OUT": "cannot use both --srcdict and --tgtdict.*",
    "train DATA --task bang --arch fconv --criterion nstream_loss --optimizer adam --max-tokens 60 --cpu": (
        "--criterion nstream_loss needs a BANG model: .*"
    ),
    TRAIN.replace("--cpu", "--distributed-world-size 99"): "--distributed-world-size 99: there are .*add --cpu.*",
    f"{TRAIN} --distributed-init-method nope --distributed-no-spawn --distributed-world-size 2 --distributed-rank 0": (
        "--distributed-init-method nope: .*"
    ),
    # resuming
    f"{RESUME} --optimizer sgd": "Optimizer does not match; please reset the optimizer (--reset-optimizer).*",
    f"{RESUME} --lr-scheduler inverse_sqrt": "--lr-scheduler inverse_sqrt is not .*--reset-lr-scheduler",
}

MORE = {  # of the same kinds
    f"{TRAIN} --adam-betas (0.9,x)": "--adam-betas (0.9,x): not two numbers, as in '(0.9, 0.98)'",
    f"{TRAIN} --max-source-positions 1": "train: none of its 300 sentences is short enough for .* --max-tokens",
    f"{TRAIN} --eval-bleu --eval-bleu-detok-args {{x": "--eval-bleu-detok-args {x: .*; write JSON, .*",
    f"{GENERATE} --model-overrides {{x:": "--model-overrides {x:: '{' was never closed",
    VALIDATE: "Must specify batch size either with --max-tokens or --batch-size",
    f"{INTERACTIVE} --bpe wordpiece": "--bpe wordpiece needs --wordpiece-vocab",
    f"{INTERACTIVE} --bpe subword_nmt": "--bpe subword_nmt needs --bpe-codes",
    f"{INTERACTIVE} --bpe fastbpe": "--bpe fastbpe needs --bpe-codes",
    f"{INTERACTIVE} --bpe hf_byte_bpe": "--bpe hf_byte_bpe needs --bpe-vocab",
    f"{INTERACTIVE} --bpe byte_bpe": "--bpe byte_bpe needs --sentencepiece-model-path",
    f"{INTERACTIVE} --bpe wordpiece --wordpiece-vocab nope": "--wordpiece-vocab nope: No such file or directory",
    f"{INTERACTIVE} --bpe subword_nmt --bpe-codes nope": "--bpe-codes nope: no such file",
    f"{INTERACTIVE} --bpe gpt2 --gpt2-encoder-json nope": "--gpt2-encoder-json nope: no such file",
    f"{GENERATE} --results-path TEXT": "--results-path TEXT: File exists",
    f"{GENERATE} --source-lang xx --target-lang tgt": "DATA/dict.xx.txt: No such file or directory; .*",
    f"{TRAIN} --quantization-config-path nope": "--quantization-config-path nope: No such file or directory",
    f"{PREPROCESS} --trainpref TRAIN --validpref nope --destdir OUT": "--validpref nope: nope.*: No such file or .*",
    f"{PREPROCESS} --trainpref TRAIN --srcdict nope --destdir OUT": "--srcdict nope: No such file or directory",
    f"{PREPROCESS} --trainpref TRAIN --destdir OUT --alignfile nope": "--alignfile nope: No such file or directory",
    f"{GENERATE} --scoring wer": "--scoring wer: Please install editdistance.*",
    f"{INTERACTIVE} --bpe bert": "--bpe bert: Please install transformers with: pip install transformers",
    f"{TRAIN} --use-old-adam --fp16-adam-stats": "--fp16-adam-stats is only supported with FusedAdamV1",
    f"{TRAIN} --encoder-attention-heads 5": "--encoder-embed-dim 32 is not a multiple of --encoder-attention-heads 5",
    f"{TRAIN} --fp16": "--fp16 needs a GPU in training.*",
    f"{GENERATE} --sampling --nbest 9": "--sampling requires --nbest to be equal to --beam",
    f"{GENERATE} --replace-unk": "--replace-unk requires a raw text dataset.*",
    f"{INTERACTIVE} --buffer-size 1 --batch-size 4": "--batch-size cannot be larger than --buffer-size",
    f"{RESUME} --criterion cross_entropy": "Criterion does not match; please reset the optimizer (--reset-optimizer).*",
    f"{RESUME} --lr-scheduler reduce_lr_on_plateau": "--lr-scheduler reduce_lr_on_plateau .*--reset-lr-scheduler",
    f"{RESUME} --encoder-layers 2": "the checkpoint holds another architecture: .*",
}


@pytest.fixture
def places(toy_data, toy_checkpoint, tmp_path):
    """What the capitals in a command stand for."""
    text = tmp_path / "text"
    text.write_text("no model\n")
    saved = str(Path(toy_checkpoint).parent)
    folders = {"DATA": toy_data / "bin", "TRAIN": toy_data / "train", "OUT": tmp_path / "out", "TEXT": text}
    return {name: str(path) for name, path in folders.items()} | {"MODEL": toy_checkpoint, "SAVED": saved}


def last_words(capsys, name, *arguments) -> str:
    """What the excepthook prints of the error that ends a command."""
    with pytest.raises(Exception) as raised:  # noqa: B017, PT011  (any kind that there is)
        fairseq(name, *arguments, stdin="a b\n")
    capsys.readouterr()
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]):
        last_line.hook(sys.__excepthook__)(raised.type, raised.value, raised.value.__traceback__)
    return capsys.readouterr().err


def cases():
    for mistakes, marks in ((MISTAKES, ()), (MORE, pytest.mark.slow)):
        for command, line in mistakes.items():
            yield pytest.param(command, line, id=" ".join(command.split()[-2:]), marks=marks)


@pytest.mark.parametrize("command, line", cases())
def test_one_line(command, line, places, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)  # which a user of fairseq need not have
    for place, path in places.items():
        command, line = (re.sub(rf"\b{place}\b", path, text) for text in (command, line))
    told = last_words(capsys, *command.split(" "))
    pattern = ".*".join(map(re.escape, line.split(".*")))
    assert re.fullmatch(f"error: {pattern}", told.splitlines()[-1]), told
    assert "Traceback" not in told


def test_data_that_shrank(toy_data, tmp_path, capsys):
    """Resumed in the midst of an epoch that has fewer batches now."""
    saved = tmp_path / "saved"
    options = ["--max-tokens", 60, "--save-interval-updates", 1]
    train_toy(toy_data, saved, 12, *options)
    lines = (toy_data / "train.src").read_text().splitlines()[:20]
    for side in ("src", "tgt"):
        (tmp_path / f"few.{side}").write_text("".join(f"{line}\n" for line in lines))
    dictionary = ["--joined-dictionary", "--srcdict", toy_data / "bin" / "dict.src.txt"]
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--trainpref", tmp_path / "few"]
    fairseq("preprocess", "--task", "bang", *pair, *dictionary, "--destdir", tmp_path / "bin")
    again = [tmp_path / "bin", "--task", "bang", *SMALL, *options, "--save-dir", saved, "--max-update", 20]
    told = last_words(capsys, "train", *again, "--disable-validation")
    assert told.splitlines()[-1].startswith("error: the data are not those that the checkpoint was trained on")
    assert "--reset-dataloader" in told and "Traceback" not in told


def test_port_in_use(toy_data, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        where = f"tcp://localhost:{taken.getsockname()[1]}"
        one = ["--distributed-init-method", where, "--distributed-no-spawn", "--distributed-world-size", 2]
        told = last_words(
            capsys,
            "train",
            toy_data / "bin",
            "--task",
            "bang",
            *SMALL,
            *one,
            "--distributed-rank",
            0,
            "--save-dir",
            tmp_path,
        )
    assert told.splitlines()[-1].endswith("choose another --distributed-port") and "Traceback" not in told


@pytest.mark.parametrize(
    "error, line",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "the GPU's memory is full: .*"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "DataLoader worker .*--num-workers"),
        (OSError(28, "No space left on device"), "the system says: No space left on device"),
        (ModuleNotFoundError("No module named 'tokenizers'"), ".* pip install tokenizers"),
    ],
)
def test_what_a_machine_lacks(toy_data, tmp_path, monkeypatch, capsys, error, line):
    monkeypatch.setattr(Trainer, "train_step", mock.Mock(side_effect=error))
    told = last_words(capsys, *TRAIN.replace("DATA", str(toy_data / "bin")).replace("OUT", str(tmp_path)).split())
    assert re.fullmatch(f"error: {line}", told.splitlines()[-1]) and "Traceback" not in told


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(toy_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Trainer, "train_step", lambda *_: torch.zeros(1).cuda())
    told = last_words(capsys, *TRAIN.replace("DATA", str(toy_data / "bin")).replace("OUT", str(tmp_path)).split())
    assert told.splitlines()[-1].startswith("error: there is no GPU to use") and "Traceback" not in told


def test_tokeniser_without_its_data(places, monkeypatch, capsys):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])  # wherever this machine has some
    command = f"{INTERACTIVE} --tokenizer nltk".replace("DATA", places["DATA"]).replace("MODEL", places["MODEL"])
    told = last_words(capsys, *command.split())
    assert re.fullmatch("error: --tokenizer nltk: .*python -m nltk.downloader punkt.*", told.splitlines()[-1]), told


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("shape '[2]' is invalid for input of size 3"),
        KeyError("best"),
        TypeError("forward() missing 1 required positional argument"),
        ValueError("too many values to unpack"),
        AssertionError(),
        FileNotFoundError(2, "No such file or directory", "a file that no option names"),
        ModuleNotFoundError("No module named 'bang_plugin.nowhere'"),
        ModuleNotFoundError("No module named 'fairseq.nowhere'"),
    ],
)
def test_fault_of_the_code_keeps_its_traceback(toy_data, tmp_path, monkeypatch, capsys, fault):
    monkeypatch.setattr(Trainer, "train_step", mock.Mock(side_effect=fault))
    told = last_words(capsys, *TRAIN.replace("DATA", str(toy_data / "bin")).replace("OUT", str(tmp_path)).split())
    assert "Traceback" in told and not told.splitlines()[-1].startswith("error: ")


def test_errors_of_other_programs_are_left_alone(capsys, monkeypatch):
    """A program that uses the package is none of fairseq's commands: only a BangError is told in one line."""
    monkeypatch.setattr(sys, "argv", ["program", "--input", "nope"])
    for error, seen in ((FileNotFoundError(2, "No such file", "nope"), True), (BangError("so"), False)):
        try:
            raise error
        except Exception:
            last_line.hook(sys.__excepthook__)(*sys.exc_info())
        assert ("Traceback" in capsys.readouterr().err) == seen


def test_switch_shows_the_traceback_too(toy_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(last_line.SWITCH, "1")
    told = last_words(capsys, *without("--arch").split())
    assert "Traceback" in told and told.splitlines()[-1] == "error: --arch is missing: try bang_base"


def test_mistake_before_a_task_is_asked():
    """In a process of its own: the import of the package is all of ours that runs before this error."""
    program = "from fairseq_cli.train import cli_main; cli_main()"
    arguments = ["data", "--user-dir", PLUGIN, "--task", "bang", "--cpu"]
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "error: --arch is missing: try bang_base" and "Traceback" not in run.stderr


@pytest.mark.parametrize("typed", [["--task", "bang"], ["--task=bang_pretraining"]])
def test_chosen_on_the_command_line(typed, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(sys, "argv", ["fairseq-train", "data", "--task", "translation"])
    last_line.install_if_chosen(["bang", "bang_pretraining"])
    assert sys.excepthook is sys.__excepthook__
    monkeypatch.setattr(sys, "argv", ["fairseq-train", "data", *typed])
    last_line.install_if_chosen(["bang", "bang_pretraining"])
    assert sys.excepthook is not sys.__excepthook__
