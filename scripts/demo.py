"""Train a real BANG on real data in minutes and compare its ways of decoding.

``make demo`` runs this: spelling to phonemes from the CMU pronouncing dictionary. Everything is written
to ``demo/``: raw text, binarised data, the checkpoint, ``results.md``, ``results.json`` and ``results.png``.
Steps whose result is there already are skipped.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from scripts import pronunciations

TRAINING = {
    "--arch": "bang_tiny",
    "--encoder-layers": 2,
    "--decoder-layers": 2,
    "--encoder-embed-dim": 128,
    "--decoder-embed-dim": 128,
    "--encoder-ffn-embed-dim": 512,
    "--decoder-ffn-embed-dim": 512,
    "--max-source-positions": 64,
    "--max-target-positions": 64,
    # not two epochs fit into so short a training: nothing to regularise against
    "--dropout": 0,
    "--attention-dropout": 0,
    "--activation-dropout": 0,
    "--criterion": "nstream_loss",
    # NAR in nearly half of the updates; in the others AR, with a block after one place of each word
    "--ngram": 4,
    "--nar-ratio": 0.45,
    "--anchors": 1,
    "--stream-weights": "3,1,1,1",
    # of short sequences the dense mask hides little
    "--attention-backend": "dense",
    "--optimizer": "torch_adamw",
    "--adam-betas": "(0.9, 0.98)",
    "--clip-norm": 1.0,
    "--lr": 2e-3,
    "--lr-scheduler": "polynomial_decay",
    "--warmup-updates": 400,
    # small batches: in so short a time the number of updates counts most
    "--max-tokens": 300,
    "--seed": 1,
}

UPDATES = 7350
SAVE_INTERVAL = 1500  # updates

GREEDY = "AR, greedy"
SPECULATIVE = (2, 4)
TOLERANCES = (0.5, 1, 2)


# Ctrl-C reaches every process of the terminal: this one answers, fairseq's just end
PROGRAM = """import logging, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
{}
from fairseq_cli.{} import cli_main
cli_main()"""
# fairseq's own set-up of logging then has no effect
QUIET = """logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
logging.root.handlers[0].addFilter(lambda record: record.levelno > logging.INFO or record.name == "train_inner")
"""


def fairseq(command: str, *arguments, verbose: bool, bar: tqdm | None = None) -> None:
    """Run a fairseq command on this package.

    Args:
        verbose: show what it logs at INFO.
        bar: advance it by what the command logs as JSON.

    Raises:
        SystemExit: if it fails; it has said why.
    """
    options = [str(argument) for argument in arguments]
    program = PROGRAM.format("" if verbose else QUIET, command)
    call = [sys.executable, "-W", "ignore", "-c", program, *options, "--user-dir", "bang_plugin"]
    with subprocess.Popen(call, stdout=None if verbose else subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if bar is not None and line.startswith("{"):
                    stats = json.loads(line)
                    bar.set_postfix(loss=stats["loss"], refresh=False)
                    bar.update(int(stats["num_updates"]) - bar.n)
                else:
                    tqdm.write(line, file=sys.stderr, end="")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        sys.exit(f"fairseq-{command} failed: {' '.join(options)}")


def prepare(folder: Path, most: int | None, verbose: bool) -> Path:
    """Raw and binarised data; returns the folder that fairseq reads."""
    data, part = folder / "data", folder / "data.part"
    if not data.exists():
        print(f"1/3 data: spelling and phonemes, to {data}", flush=True)
        raw = folder / "raw"
        pronunciations.write(raw, most)
        shutil.rmtree(part, ignore_errors=True)
        texts = [text for split in ("train", "valid", "test") for text in (f"--{split}pref", raw / split)]
        languages = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
        options = ["--task", "bang", *languages, *texts, "--destdir", part, "--workers", 2]
        fairseq("preprocess", *options, verbose=verbose)
        part.rename(data)
    return data


def schedule(updates: int) -> dict[str, int]:
    """The options of fairseq-train that depend on the number of updates."""
    return {"--total-num-update": updates, "--max-update": updates}


def train(data: Path, folder: Path, updates: int, verbose: bool) -> Path:
    """Train for ``updates`` updates, or go on where an interrupted run stopped; returns the checkpoint."""
    checkpoint = folder / "checkpoint_last.pt"
    finished = folder / "trained"
    if not finished.exists():
        print(f"2/3 training: {updates:,} updates on the CPU, to {checkpoint}", flush=True)
        options = [str(part) for option in {**TRAINING, **schedule(updates)}.items() for part in option]
        progress = ["--log-format", "tqdm", "--log-interval", 100]
        saving = ["--no-epoch-checkpoints", "--save-interval-updates", SAVE_INTERVAL, "--keep-interval-updates", 1]
        where = ["--task", "bang", "--cpu", "--save-dir", folder]
        if not verbose:
            progress = ["--log-format", "json", "--log-interval", 25]
        # a bar for people only; and fairseq draws its own where it logs
        with tqdm(total=updates, unit=" updates", disable=True if verbose else None) as bar:
            fairseq("train", data, *where, *options, *progress, *saving, verbose=verbose, bar=bar)
            bar.update(updates - bar.n)
        finished.touch()
    return checkpoint


def modes() -> list:
    """What the table compares."""
    from scripts.measure import Mode

    limits = {"max_len_b": 40}
    greedy = {"beam": 1, **limits}
    return [
        Mode("AR, beam 4", {"decoding": "ar"}, {"beam": 4, **limits}),
        Mode("speculative, beam 4", {"decoding": "speculative"}, {"beam": 4, **limits}),
        Mode(GREEDY, {"decoding": "ar"}, greedy),
        *(Mode(f"speculative, K={k}", {"decoding": "speculative", "block_size": k}, greedy) for k in SPECULATIVE),
        *(
            Mode(f"adaptive, t={t}", {"decoding": "adaptive", "block_size": 4, "tolerance": t}, limits)
            for t in TOLERANCES
        ),
        *(Mode(f"semi-NAR, K={k}", {"decoding": "semi_nar", "block_size": k}, limits) for k in (2, 3, 4)),
        Mode("NAR", {"decoding": "nar", "nar_chunk": 16}, limits),
        Mode("NAR, 8 candidates", {"decoding": "nar", "nar_chunk": 16, "nar_candidates": 8}, limits),
    ]


def compare(checkpoint: Path, data: Path, raw: Path) -> tuple[list[dict], list[dict]]:
    """Decode the test words in every mode: quality and speed as one row per mode, and the measurements themselves."""
    from bang_plugin.evaluation import evaluate
    from scripts.measure import Workbench, measure, warnings_only

    warnings_only()
    references = [line.split("\t") for line in (raw / "test.refs").read_text().splitlines()]
    results = measure(Workbench(str(checkpoint), str(data)), modes())
    greedy = next(result.hypotheses for result in results if result.name == GREEDY)
    rows = []
    for result in results:
        same = sum(a == b for a, b in zip(result.hypotheses, greedy))
        scores = evaluate(result.hypotheses, references, ["per", "wer"])
        result.quality = {name: score.value for name, score in scores.items()}
        rows.append(
            {
                "decoding": result.name,
                "phoneme error rate (%)": scores["phoneme_error_rate"].value,
                "word error rate (%)": scores["word_error_rate"].value,
                "ms per word, batch 1": result.ms_per_sentence,
                "words per second": result.sentences_per_second,
                "give or take (%)": result.throughput_spread,
                "at batch size": result.batch_size,
                "decoder passes": result.passes,
                "as greedy AR (%)": 100 * same / len(greedy),
            }
        )
    return rows, [result.row() for result in results]


def run(folder: Path, updates: int, most: int | None, verbose: bool) -> None:
    """The three steps, and what they show."""
    data = prepare(folder, most, verbose)
    checkpoint = train(data, folder, updates, verbose)
    print("3/3 decoding the test words in every mode", flush=True)
    from bang_plugin.evaluation.tables import print_table
    from scripts.report import plot_quality_speed

    rows, measurements = compare(checkpoint, data, folder / "raw")
    table = print_table(rows)
    (folder / "results.md").write_text(table)
    (folder / "results.json").write_text(json.dumps(measurements, indent=1))
    plot_quality_speed(
        rows,
        folder / "results.png",
        quality="word error rate (%)",
        speed="ms per word, batch 1",
        title="Spelling to phonemes: one BANG checkpoint, decoded in several ways",
    )
    print(f"\nTable, numbers and plot: {folder}/results.md, .json, .png; the model: {checkpoint}")
    command = Path(os.path.relpath(Path(sys.executable).with_name("fairseq-interactive")))
    plugin = f"--user-dir bang_plugin --task bang --path {checkpoint}"
    print(
        "\nTry next:\n"
        "- watch it write a word, pass by pass:\n"
        f'    echo "b a n g" | {command} {data} {plugin} --decoding speculative --beam 1 --print-trace --cpu\n'
        "- see it race in a browser, at http://127.0.0.1:8000/#text=b+a+n+g:\n"
        f"    {command.with_name('bang')} serve {folder} --checkpoint-file {checkpoint.name} --data {data}\n"
        "- see what a longer training gives:\n"
        f"    {os.path.relpath(sys.executable)} -m scripts.demo --folder demo-long --updates {4 * updates}\n"
        "- train on your own text: docs/usage.md has the commands"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything is written")
    parser.add_argument("--updates", type=int, default=UPDATES, help="training updates")
    parser.add_argument("--most", type=int, help="use at most this many words of each split (for trials)")
    parser.add_argument("--verbose", action="store_true", help="show what fairseq logs")
    args = parser.parse_args()
    try:
        run(**vars(args))
    except KeyboardInterrupt:
        print(
            "\ninterrupted: the same command goes on; finished steps are kept, training goes on from its last "
            f"checkpoint (one every {SAVE_INTERVAL:,} updates)",
            file=sys.stderr,
        )
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
