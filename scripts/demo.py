"""Train a real BANG on real data in minutes and compare its ways of decoding.

``make demo`` runs this: spelling to phonemes from the CMU pronouncing dictionary. Everything is written
to ``demo/``: raw text, binarised data, the checkpoint, ``results.md``, ``results.json`` and ``results.png``.
Steps whose result is there already are skipped.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from scripts import pronunciations
from scripts.report import plot_quality_speed, print_table

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
    # hardly more than one epoch fits into five minutes: nothing to regularise against
    "--dropout": 0,
    "--attention-dropout": 0,
    "--activation-dropout": 0,
    "--criterion": "nstream_loss",
    "--ngram": 4,
    "--nar-ratio": 0.3,
    "--optimizer": "adam",
    "--adam-betas": "(0.9, 0.98)",
    "--clip-norm": 1.0,
    "--lr": 1e-3,
    "--lr-scheduler": "polynomial_decay",
    "--warmup-updates": 400,
    # small batches: in so short a time the number of updates counts most
    "--max-tokens": 300,
    "--seed": 1,
}

GREEDY = "AR, greedy"
SPECULATIVE = (2, 4)
CONFIDENCES = (0.9, 0.7, 0.5, 0.3)


def fairseq(command: str, *arguments) -> None:
    """Run a fairseq command on this package.

    Raises:
        SystemExit: if it fails; it has said why.
    """
    program = f"from fairseq_cli.{command} import cli_main; cli_main()"
    options = [str(argument) for argument in arguments]
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", program, *options, "--user-dir", "bang_plugin"])
    if result.returncode:
        sys.exit(f"fairseq-{command} failed: {' '.join(options)}")


def prepare(folder: Path, most: int | None) -> Path:
    """Raw and binarised data; returns the folder that fairseq reads."""
    data = folder / "data"
    if not (data / "dict.tgt.txt").exists():
        raw = folder / "raw"
        pronunciations.write(raw, most)
        parts = [part for split in ("train", "valid", "test") for part in (f"--{split}pref", raw / split)]
        languages = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
        fairseq("preprocess", "--task", "bang", *languages, *parts, "--destdir", data, "--workers", 2)
    return data


def train(data: Path, folder: Path, updates: int) -> Path:
    """Train for ``updates`` updates, or go on where an interrupted run stopped; returns the checkpoint."""
    checkpoint = folder / "checkpoint_last.pt"
    finished = folder / "trained"
    if not finished.exists():
        options = [str(part) for option in TRAINING.items() for part in option]
        progress = ["--log-format", "tqdm", "--log-interval", 100]
        schedule = ["--total-num-update", updates, "--max-update", updates]
        saving = ["--no-epoch-checkpoints", "--save-interval-updates", 1500, "--keep-interval-updates", 1]
        fairseq("train", data, "--task", "bang", "--cpu", "--save-dir", folder, *options, *progress, *schedule, *saving)
        finished.touch()
    return checkpoint


def modes() -> list:
    """What the table compares."""
    from scripts.measure import Mode

    limits = {"max_len_b": 40}
    return [
        Mode("AR, beam 4", {"decoding": "ar"}, {"beam": 4, **limits}),
        Mode(GREEDY, {"decoding": "ar"}, {"beam": 1, **limits}),
        *(Mode(f"speculative, K={k}", {"decoding": "speculative", "block_size": k}, limits) for k in SPECULATIVE),
        *(
            Mode(f"adaptive, p={p}", {"decoding": "adaptive", "block_size": 4, "confidence": p}, limits)
            for p in CONFIDENCES
        ),
        *(Mode(f"semi-NAR, K={k}", {"decoding": "semi_nar", "block_size": k}, limits) for k in (2, 3, 4)),
        Mode("NAR", {"decoding": "nar", "nar_chunk": 16}, limits),
        Mode("NAR, 8 candidates", {"decoding": "nar", "nar_chunk": 16, "nar_candidates": 8}, limits),
    ]


def compare(checkpoint: Path, data: Path, raw: Path) -> tuple[list[dict], list[dict]]:
    """Decode the test words in every mode: quality and speed as one row per mode, and the measurements themselves."""
    from scripts.evaluate import evaluate
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
                "at batch size": result.batch_size,
                "decoder passes": result.passes,
                "as greedy AR (%)": 100 * same / len(greedy),
            }
        )
    return rows, [result.row() for result in results]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything is written")
    parser.add_argument("--updates", type=int, default=4500, help="training updates")
    parser.add_argument("--most", type=int, help="use at most this many words of each split (for trials)")
    args = parser.parse_args()
    data = prepare(args.folder, args.most)
    checkpoint = train(data, args.folder, args.updates)
    rows, measurements = compare(checkpoint, data, args.folder / "raw")
    table = print_table(rows)
    (args.folder / "results.md").write_text(table)
    (args.folder / "results.json").write_text(json.dumps(measurements, indent=1))
    plot_quality_speed(
        rows,
        args.folder / "results.png",
        quality="word error rate (%)",
        speed="ms per word, batch 1",
        title="Spelling to phonemes: one BANG checkpoint, decoded in several ways",
    )
    print(f"\nTable, numbers and plot: {args.folder}/results.md, .json, .png; the model: {checkpoint}")


if __name__ == "__main__":
    main()
