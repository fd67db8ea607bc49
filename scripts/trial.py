"""Train once with given options, write the test set in some decodings and record all of it as one JSON file.

    python -m scripts.trial --name ar-first --seed 2 --data demo/data --references demo/raw/test.refs --metric wer \\
        --work trials --output docs/results/ar_first -- --arch bang_tiny … --max-update 7000

Everything behind ``--`` goes to fairseq-train; in the record the folder of trials is left out of it. An interrupted
trial goes on where it was: training from its last checkpoint, with the processor's time of both parts. Time is the
processor's, so that other work on the machine counts for little.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

from bang_plugin.evaluation import METRICS, evaluate
from bang_plugin.evaluation.files import read_references, write_whole
from examples.workspace import arguments_for_fairseq
from scripts.bench.machine import describe
from scripts.measure import Mode, Workbench, warnings_only

SAVE_INTERVAL = 1000  # updates


def seconds_of_children() -> float:
    """Processor time of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train(args, folder: Path) -> float:
    """Run fairseq-train, or go on with it; returns the processor's seconds."""
    finished = folder / "seconds.json"
    if not finished.exists():
        folder.mkdir(parents=True, exist_ok=True)
        spent = folder / "spent.json"
        before = json.loads(spent.read_text()) if spent.exists() else 0.0
        own = ["--save-dir", folder, "--seed", args.seed, "--no-epoch-checkpoints", "--disable-validation"]
        own += ["--save-interval-updates", SAVE_INTERVAL, "--keep-interval-updates", 1]
        own += ["--log-format", "json", "--log-interval", 100, "--num-workers", 0]
        call = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.train", args.data, *args.fairseq, *own]
        before -= seconds_of_children()
        with open(folder / "train.log", "a") as log:
            failed = subprocess.run(list(map(str, call)), stdout=log, stderr=log).returncode
        seconds = before + seconds_of_children()
        write_whole(spent if failed else finished, lambda part: part.write_text(json.dumps(seconds)))
        if failed:
            sys.exit(f"fairseq-train failed: {folder}/train.log")
    return json.loads(finished.read_text())


def modes(args) -> list[Mode]:
    """The decodings that a trial is judged by."""
    limits = {"max_len_a": args.max_len_a, "max_len_b": args.max_len_b}
    known = {
        "greedy": Mode("AR, greedy", {"decoding": "ar"}, {"beam": 1, **limits}),
        "beam": Mode("AR, beam 4", {"decoding": "ar"}, {"beam": 4, **limits}),
        "nar": Mode("NAR", {"decoding": "nar"}, limits),
        "candidates": Mode("NAR, 8 candidates", {"decoding": "nar", "nar_candidates": 8}, limits),
        "collapsed": Mode("NAR, repeats collapsed", {"decoding": "nar", "collapse_repeats": True}, limits),
        "speculative": Mode("speculative, K=4", {"decoding": "speculative", "block_size": 4}, {"beam": 1, **limits}),
    }
    for k in (2, 3, 4, 8):
        known[f"semi{k}"] = Mode(f"semi-NAR, K={k}", {"decoding": "semi_nar", "block_size": k}, limits)
    return [known[name] for name in args.decodings.split(",")]


def judge(args, checkpoint: Path) -> dict[str, dict[str, float]]:
    """Quality and decoder passes of every decoding."""
    warnings_only()
    references = read_references([args.references], tab_separated=True)
    bench = Workbench(str(checkpoint), str(args.data), split=args.split)
    batches = bench.batches(args.batch_size)
    found = {}
    for mode in modes(args):
        written = bench.write(bench.generator(mode), batches)
        texts = bench.texts(written, args.sentencepiece_model)
        scores = evaluate(texts, references, args.metric.split(","))
        found[mode.name] = {name: round(score.value, 2) for name, score in scores.items()}
        if all("passes" in hypothesis for hypothesis in written.values()):  # fairseq's own models tell none
            found[mode.name]["passes"] = round(bench.mean_passes(written), 2)
        (checkpoint.parent / f"{re.sub('[^a-z0-9]+', '-', mode.name.lower())}.txt").write_text("\n".join(texts) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, required=True, help="what fairseq-preprocess wrote")
    parser.add_argument(
        "--references",
        type=Path,
        help="of the split, a sentence a line, tab-separated; without them none is written",
    )
    parser.add_argument("--split", default="test")
    parser.add_argument("--metric", default="bleu", help=f"comma-separated: {', '.join(METRICS)}")
    parser.add_argument("--sentencepiece-model", type=Path)
    parser.add_argument("--decodings", default="greedy,semi2,semi4,nar")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-len-a", type=float, default=0)
    parser.add_argument("--max-len-b", type=int, default=40)
    parser.add_argument("--work", type=Path, default=Path("trials"), help="folder of checkpoints and logs")
    parser.add_argument("--output", type=Path, required=True, help="folder of the records")
    own, fairseq = arguments_for_fairseq(sys.argv[1:])
    args = parser.parse_args(own)
    args.fairseq = fairseq
    name = f"{args.name}-s{args.seed}"
    seconds = train(args, args.work / name)
    checkpoint = args.work / name / "checkpoint_last.pt"
    options = " ".join([*fairseq, "--seed", str(args.seed)]).replace(f"{args.work}/", "")  # where it lies is no matter
    record = {
        "name": args.name,
        "seed": args.seed,
        "command": f"fairseq-train DATA {options}",
        "minutes": round(seconds / 60, 2),
        "machine": describe(),
    }
    if args.references:
        record["sentences"] = len(args.references.read_text(encoding="utf-8").splitlines())
        record["scores"] = judge(args, checkpoint)
    write_whole(args.output / f"{name}.json", lambda part: part.write_text(json.dumps(record, indent=1)))
    print(name, record["minutes"], json.dumps(record.get("scores", {})), flush=True)


if __name__ == "__main__":
    main()
