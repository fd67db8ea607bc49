"""fairseq-hydra-train: presets, the files in examples/hydra, guards, paths, errors."""

import ast
import distutils.core
import os
import re
from pathlib import Path

import pytest
import torch
import yaml
from fairseq import models, options
from fairseq.data import Dictionary
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from bang_plugin.models.bang import PRESETS, BangModel
from examples import question_generation
from examples.pretraining.recipes import PRESETS as PRETRAINING
from examples.pretraining.recipes import SPANS
from examples.recipe import FINE_TUNING, option_list
from scripts import demo
from tests.command_line import PLUGIN, fairseq, hypotheses
from tests.conftest import build_task
from tests.reliability.processes import Command

ROOT = Path(PLUGIN).parent
FILES = ROOT / "examples" / "hydra"

SIZES = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_embed_dim": 32,
    "decoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "decoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}


def configuration(toy_data, **model) -> dict:
    """A file as a user writes it; what it leaves out is fairseq's."""
    return {
        "common": {"user_dir": PLUGIN, "cpu": True},
        "task": {
            "_name": "bang",
            "data": str(toy_data / "bin"),
            "max_source_positions": 20,
            "max_target_positions": 20,
        },
        "model": model or {"_name": "bang_tiny", **SIZES},
        "criterion": {"_name": "nstream_loss"},
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "fixed"},
        "dataset": {"max_tokens": 600, "num_workers": 0, "disable_validation": True},
        "optimization": {"max_update": 2, "lr": [0.003]},
        "checkpoint": {"save_dir": "saved"},
    }


def hydra_train(folder: Path, config_dir: Path, name: str, *overrides) -> tuple[int, str]:
    """Run the command in ``folder``; its exit status, and what it said."""
    arguments = [*overrides, "--config-dir", config_dir, "--config-name", name]
    command = Command("hydra_train", *arguments, log=folder / "log", folder=folder)
    return command.wait(), command.text


def run(folder: Path, config: dict, *overrides) -> tuple[int, str]:
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "mine.yaml").write_text(yaml.safe_dump(config))
    return hydra_train(folder, folder / "conf", "mine", *overrides)


@pytest.mark.parametrize("name", [*PRESETS, "bang"])
def test_presets_have_their_sizes(name):
    """Whichever way they are named; and sizes that are given win."""
    task = {"_name": "bang", "data": "none", "max_source_positions": 20, "max_target_positions": 20}
    sizes = PRESETS.get(name, PRESETS["bang_base"])
    for part, given in (
        ({"_name": name}, {}),
        (name, {}),
        ({"_name": name, "encoder_layers": 2}, {"encoder_layers": 2}),
    ):
        cfg = OmegaConf.create({"task": task, "model": part})
        add_defaults(cfg)
        with torch.device("meta"):
            model = models.build_model(cfg.model, build_task(Dictionary()))
        assert {size: model.cfg[size] for size in sizes} == {**sizes, **given}


def test_checkpoint_of_a_preset_loads(toy_data, tmp_path):
    config = configuration(toy_data, _name="bang_tiny", encoder_layers=1, decoder_layers=1)
    config["hydra"] = {"run": {"dir": "."}}
    status, told = run(tmp_path, config)
    assert status == 0, told
    saved = tmp_path / "saved" / "checkpoint_last.pt"
    state = torch.load(saved, weights_only=True)
    assert state["model"]["encoder.embed_tokens.weight"].size(1) == PRESETS["bang_tiny"]["encoder_embed_dim"]
    assert "decoder.layers.1.fc1.weight" not in state["model"]  # one layer, as the file says
    output = fairseq("generate", toy_data / "bin", "--task", "bang", "--path", saved, "--cpu", "--max-len-b", 15)
    assert sorted(hypotheses(output)) == list(range(43))
    hub = BangModel.from_pretrained(str(saved.parent), saved.name, str(toy_data / "bin"))
    assert hub.generate("a b c", decoding="nar", max_len_b=15)[0]["passes"] == 1
    # and goes on where it stopped
    status, told = run(tmp_path, config, "optimization.max_update=3")
    assert status == 0 and "Loaded checkpoint" in told and "num_updates 3" in told.replace('"', "").replace(": ", " ")


TYPED = {
    "demo": (["--cpu", "--no-epoch-checkpoints"], {**demo.TRAINING, **demo.schedule(demo.UPDATES), "--task": "bang"}),
    "fine_tuning": ([], {**FINE_TUNING, **question_generation.RECIPE.modes["all"].options, "--task": "bang"}),
    "pretraining": (["--bf16"], {**PRETRAINING["base"].model, **PRETRAINING["base"].pretraining, **SPANS}),
}


@pytest.mark.parametrize("name", TYPED)
def test_files_say_what_the_examples_do(name, monkeypatch):
    """Every value in a file is what the example's command line comes to, and no option of it is left out."""
    flags, typed = TYPED[name]
    parser = options.get_training_parser()
    arguments = ["data", "--user-dir", PLUGIN, *flags, *option_list({**typed, "--bf16": None})]
    args = options.parse_args_and_arch(parser, arguments)
    cfg = convert_namespace_to_omegaconf(args)
    file = yaml.safe_load((FILES / f"{name}.yaml").read_text())
    written = {f"{part}.{key}": value for part in file if part != "hydra" for key, value in file[part].items()}
    elsewhere = ("common.user_dir", "task.data", "common.bf16", "common.cpu", "common.seed", "optimization.max_update")
    for key, value in written.items():
        part, _, option = key.partition(".")
        if key not in elsewhere and part != "checkpoint":
            wanted = cfg[part][option]
            if option == "adam_betas":  # fairseq takes either spelling
                value, wanted = (list(ast.literal_eval(str(betas))) for betas in (value, wanted))
            assert value == wanted, key
    names = {key.partition(".")[2].replace("_", "-") for key in written}
    implied = {"arch", "task", "criterion", "optimizer", "lr-scheduler"}  # _name of a part
    assert {option.lstrip("-") for option in typed} - names - implied == set()


@pytest.mark.parametrize("name", TYPED)
def test_files_train(toy_data, plain_text, tmp_path, name):
    """A few updates of a smaller model on toy data, by default workers where the file does not say."""
    data = plain_text if name == "pretraining" else toy_data / "bin"
    overrides = [f"task.data={data}", f"common.user_dir={PLUGIN}", "++common.cpu=true", "optimization.max_update=2"]
    overrides += ["dataset.max_tokens=300", f"checkpoint.save_dir={tmp_path}/saved", "++dataset.num_workers=0"]
    overrides += [f"++model.{size}={value}" for size, value in SIZES.items()]
    overrides += ["optimization.update_freq=[1]"] if name != "demo" else []
    overrides += (
        ["common.bf16=false", "task.tokens_per_sample=20", "++dataset.disable_validation=true"]
        if name == "pretraining"
        else []
    )
    status, told = hydra_train(tmp_path, FILES, name, *overrides)
    assert status == 0, told
    assert (tmp_path / "saved" / "checkpoint_last.pt").exists()


def test_paths_are_those_where_the_command_was_started(toy_data, tmp_path):
    """Hydra changes the folder; what is read was named before."""
    (tmp_path / "data").symlink_to(toy_data / "bin")
    config = configuration(toy_data)
    config["common"]["user_dir"] = os.path.relpath(PLUGIN, tmp_path)
    status, told = run(tmp_path, config, "task.data=data")
    assert status == 0, told
    (saved,) = tmp_path.glob("outputs/*/*/saved/checkpoint_last.pt")
    status, told = run(
        tmp_path, config, "task.data=data", f"checkpoint.finetune_from_model={saved.relative_to(tmp_path)}"
    )
    assert status == 0, told
    status, told = run(tmp_path, config, "task.data=nowhere")
    assert status == 1
    assert told.splitlines()[-1].startswith(f"error: {tmp_path}/nowhere: ") and "Traceback" not in told


def test_a_folder_that_imports_the_package(toy_data, tmp_path):
    """Guards act from the start there too: the path is that where the command was started."""
    (tmp_path / "my_modes").mkdir()
    (tmp_path / "my_modes" / "__init__.py").write_text("import bang_plugin\n")
    config = configuration(toy_data)
    config["common"]["user_dir"] = "my_modes"
    status, told = run(tmp_path, config, "task.data=nowhere")
    assert status == 1
    assert told.splitlines()[-1].startswith(f"error: {tmp_path}/nowhere: ") and "Traceback" not in told, told


@pytest.mark.parametrize(
    "override, line",
    [
        ("model.encoder_attention_heads=5", "--encoder-embed-dim 32 is not a multiple of --encoder-attention-heads 5"),
        ("common.fp16=true", "--fp16 needs a GPU in training: .*"),
        ("+model.layers=3", "layers: BangModelConfig has no such option"),
        ("model.encoder_layers=many", "encoder_layers: Value 'many' .* could not be converted to Integer"),
        ("+task.decoding=speculativ", "--decoding speculativ: choose one of ar, .*; did you mean speculative.*"),
        ("task._name=bagn", "--task bagn: there is no task of that name"),
        ("criterion._name=nstream", "criterion._name nstream: there is none of that name; .*nstream_loss.*"),
        ("dataset.max_tokens=null", "Must specify batch size either with --max-tokens or --batch-size"),
    ],
)
def test_mistakes_are_one_line(toy_data, tmp_path, override, line):
    status, told = run(tmp_path, configuration(toy_data), override)
    assert status == 1
    assert re.fullmatch(f"error: {line}", told.splitlines()[-1]) and "Traceback" not in told, told


def test_file_without_a_criterion(toy_data, tmp_path):
    config = configuration(toy_data)
    del config["criterion"]
    status, told = run(tmp_path, config)
    assert status == 1 and told.splitlines()[-1] == "error: --criterion is missing: try nstream_loss", told


def test_two_processes_on_a_cpu(toy_data, tmp_path):
    status, told = run(tmp_path, configuration(toy_data), "distributed_training.distributed_world_size=2")
    assert status == 0, told
    assert "training on 2 devices" in told


def test_other_folders_are_left_alone(toy_data, tmp_path):
    """fairseq's own task and model, without this package: Hydra's own report, and nothing of ours imported."""
    config = configuration(toy_data, _name="transformer_tiny")
    del config["common"]["user_dir"]
    config["task"]["_name"], config["criterion"]["_name"] = "translation", "cross_entropy"
    status, told = run(tmp_path, config)
    assert status == 0, told
    status, told = run(tmp_path, config, "optimizer._name=nope")
    assert status == 1 and "KeyError" in told and "error: " not in told.splitlines()[-1]


def test_installed_where_hydra_looks(monkeypatch):
    monkeypatch.chdir(ROOT)
    setup = distutils.core.run_setup("setup.py", stop_after="init")
    assert "hydra_plugins" in setup.packages
    folder = ROOT / setup.package_dir["hydra_plugins"]
    assert [path.name for path in folder.glob("*.py")] == ["bang_plugin.py"]  # a namespace package has no __init__.py
