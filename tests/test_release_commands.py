"""The command lines of the official release's README, as they stand there, on toy data."""

import os
import shlex
import shutil

import pytest
import torch

from .command_line import fairseq, hypotheses
from .conftest import REFERENCE
from .test_checkpoints import release_file  # noqa: F401  (a fixture)

PREPROCESS = """
--user-dir ./bang/bang --task {task} --source-lang src --target-lang tgt
--trainpref tokenized_train --validpref tokenized_valid --testpref tokenized_test
--destdir processed_data --srcdict ./bang/vocab.txt --tgtdict ./bang/vocab.txt --workers 20
"""
TRAIN = """
processed_data --user-dir ./bang/bang --task {task} --arch {arch}
--optimizer adam --adam-betas '(0.9, 0.999)' --clip-norm 0.1
--lr 0.0001 --min-lr 1e-09 --nar-ratio {nar_ratio} --ngram 1 --disable-ngram-loss
--lr-scheduler inverse_sqrt --warmup-init-lr 1e-07 --warmup-updates 1000
--dropout 0.1 --attention-dropout 0.1 --weight-decay 0.01
--criterion ngram_language_loss_NAR_mixed --label-smoothing 0.1 --update-freq 1 --max-tokens 3072 --num-workers 8
--load-from-pretrained-model checkpoint_base_9gram_ck35.pt --ddp-backend=no_c10d --max-epoch {epochs}
--max-source-positions 512 --max-target-positions 512 --truncate-source --save-dir {folder}
--keep-last-epochs 10 --save-interval {interval} --tensorboard-logdir models/logs
"""
AR = TRAIN.replace("{nar_ratio}", "0.0").replace("{epochs}", "10").replace("{interval}", "1")
NAR = TRAIN.replace("{nar_ratio}", "1.0").replace("{epochs}", "50").replace("{interval}", "5")
WRITE_AR = """
./processed_data --path models/model_ar/checkpoint8.pt --user-dir ./bang/bang --task {task} --batch-size 36
--gen-subset train --beam 4 --num-workers 4 --lenpen 1.2
"""
WRITE_NAR = """
processed_data --user-dir ./bang/bang --path models/model_nar/checkpoint40.pt --truncate-source
--max-source-positions 512 --task {task}_nar --batch-size 36 --beam 1 --gen-subset test
"""
# the sizes of the reference model instead of the released one's, and no processes that load data
TOY = "--encoder-layers 2 --decoder-layers 2 --encoder-embed-dim 32 --decoder-embed-dim 32 --num-workers 0 --cpu "
TOY += "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 4 --decoder-attention-heads 4"


@pytest.mark.parametrize(
    "task, arch",
    [
        ("translation_prophetnet", "prophet_ar_nar_mixed_base"),  # until its commit 95d5a8b
        pytest.param("translation_bang", "bang_ar_nar_mixed_base", marks=pytest.mark.slow),
    ],
)
def test_commands_of_its_readme(reference, release_file, tmp_path, monkeypatch, task, arch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    words = [symbol for symbol in reference.dictionary.symbols if symbol[:1] != "["]
    for part in ("train", "valid", "test"):
        for side, shift in (("src", 0), ("tgt", 5)):
            lines = (" ".join(words[(i + k + shift) % len(words)] for k in range(4)) for i in range(6))
            (tmp_path / f"tokenized_{part}.{side}").write_text("".join(line + "\n" for line in lines))
    os.makedirs("bang")
    shutil.copy(REFERENCE / "vocab.txt", "bang/vocab.txt")
    shutil.move(release_file, "checkpoint_base_9gram_ck35.pt")

    def run(command, line, overrides="", **values):
        filled = line.format(task=task, arch=arch, **values)
        return fairseq(command, *shlex.split(filled), *shlex.split(overrides))

    run("preprocess", PREPROCESS, "--workers 1")
    run("train", AR, TOY, folder="models/model_ar")
    run("train", NAR, TOY, folder="models/model_nar")
    settings = torch.load("models/model_ar/checkpoint8.pt", weights_only=True)["cfg"]
    assert settings["optimization"]["stop_min_lr"] == 1e-9 and settings["criterion"]["disable_ngram_loss"]
    assert len(hypotheses(run("generate", WRITE_AR, "--num-workers 0 --cpu"))) == 6
    assert len(hypotheses(run("generate", WRITE_NAR, "--cpu"))) == 6
