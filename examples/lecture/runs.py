"""``--fresh``: the lecture's own runs, which take minutes: traces of a trained model, and logs of short trainings."""

import json
import tempfile
from datetime import date
from pathlib import Path

from bang_plugin.errors import BangError
from scripts.bench.machine import describe
from scripts.demo import TRAINING

from ..recipe import AR_SHARE, option_list
from ..training_strategies import RECIPE
from ..workspace import fairseq, numbers, read_lines, write_text
from . import discussion
from .records import FOLDER, RECORDS

COMMAND = "python -m examples.lecture --fresh"
BLOCK = 4
DECODINGS = {
    "ar": {"decoding": "ar", "beam": 1},
    "nar": {"decoding": "nar"},
    "semi_nar": {"decoding": "semi_nar", "block_size": BLOCK},
    "adaptive": {"decoding": "adaptive", "block_size": BLOCK, "tolerance": 1.0},
    "speculative": {"decoding": "speculative", "beam": 1, "block_size": BLOCK},
}
SEARCHES = {
    "beam": {"decoding": "ar", "beam": 4},
    # a fixed width: else the size of the tree depends on how long earlier steps took
    "lookahead": {"decoding": "speculative", "beam": 4, "block_size": BLOCK, "draft_width": 2},
}
EOS = "</s>"
TRIED, SHOWN = 400, 3  # test words that are written, and of which the most telling ones are kept
UPDATES, SHORT = 1000, 300  # of the training that shows the losses, and of those that show schedules and clipping
SCHEDULES = ("joint", "inverse_sqrt", "cosine", "constant", "no_clipping", "clip_0.1")
EVERY = 20  # updates of a line in the log


def fresh(demo: Path) -> None:
    """Make the records anew.

    Args:
        demo: what ``make demo`` has left.

    Raises:
        BangError: if it is not there.
    """
    if not (demo / "checkpoint_last.pt").exists() or not (demo / "data").exists():
        raise BangError(f"{demo}: no checkpoint_last.pt and data of the demo: run make demo first")
    save("traces", traces(demo, TRIED))
    save("discussion", {"answers": discussion.ask(demo)})
    save("logs", {"runs": logs(demo / "data", UPDATES, SHORT), "updates": UPDATES})


def save(name: str, found: dict) -> None:
    """Write a record with what tells where it comes from."""
    record = {"command": COMMAND, "date": date.today().isoformat(), "seed": TRAINING["--seed"], "machine": describe()}
    write_text(FOLDER / RECORDS[name].path, json.dumps({**record, **found}, indent=1, ensure_ascii=False) + "\n")
    print(f"recorded {FOLDER / RECORDS[name].path}")


def traces(demo: Path, tried: int) -> dict:
    """Every decoding's passes for the test words of which verification rejects most.

    Of the first ``tried`` words, and of those among them that greedy AR writes as the dictionary has them, the ones are
    taken of which most drafted tokens are rejected.
    """
    from bang_plugin.models.bang import BangModel

    hub = BangModel.from_pretrained(str(demo), "checkpoint_last.pt", data_name_or_path=str(demo / "data"), cpu=True)
    sources = read_lines(demo / "raw" / "test.src")[:tried]
    references = [line.split("\t") for line in read_lines(demo / "raw" / "test.refs")[:tried]]
    written: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in DECODINGS.items():
            file = Path(folder) / f"{name}.jsonl"
            hub.generate(sources, trace_file=str(file), max_len_b=40, **options)
            found = {record["id"]: record for record in map(json.loads, read_lines(file))}
            written[name] = [found[number] for number in range(len(sources))]

    def telling(number: int) -> tuple:
        steps = written["speculative"][number]["trace"]
        rejected = sum(len(step.get("draft", [])) - max(0, step["kept"] - 1) for step in steps)
        last = [token for step in written["ar"][number]["trace"] for token in step["tokens"][: step["kept"]]]
        right = " ".join(token for token in last if token != EOS) in references[number]
        return (not right, -rejected, number)

    chosen = sorted(range(len(sources)), key=telling)[:SHOWN]
    sentences = []
    for number in chosen:
        shown = {
            name: {key: records[number][key] for key in ("score", "passes", "trace")}
            for name, records in written.items()
        }
        shown |= {name: searched(hub, sources[number], options) for name, options in SEARCHES.items()}
        told = {"sentence": number + 1, "source": sources[number], "references": references[number]}
        sentences.append({**told, "traces": shown})
    return {"options": {**DECODINGS, **SEARCHES}, "tried": tried, "sentences": sentences}


def searched(hub, source: str, options: dict) -> dict:
    """Beam search, of which a trace shows for every pass the tokens that all hypotheses share by then."""
    from bang_plugin.decoding.observers import Observer, subscribe

    class Passes(Observer):
        def __init__(self):
            self.steps = []

        def on_pass(self, event) -> None:
            if not len(event.kept):  # the pass told of no sentence's tokens
                self.steps.append({"pass": event.number, "tokens": [], "probabilities": [], "kept": 0})
                return
            kept = int(event.kept[0])
            tokens = [event.dictionary[int(token)] for token in event.tokens[0, : event.proposed[0]]]
            chances = event.log_probabilities[0, : event.proposed[0]].double().exp().tolist()
            self.steps.append({"pass": event.number, "tokens": tokens, "probabilities": chances, "kept": kept})

    with subscribe(Passes()) as watched:
        [best, *_] = hub.generate(source, max_len_b=40, **options)
    return {"score": float(best["score"]), "passes": int(best["passes"]), "trace": watched.steps}


def logs(data: Path, updates: int, short: int) -> dict:
    """What fairseq-train logs: of the demo's training with AR first, and of some training strategies."""
    first = {"--ar-updates": round(AR_SHARE * updates), "--max-update": updates, "--total-num-update": updates}
    runs = {"ar_first": logged(data, option_list(TRAINING, first))}
    for name in SCHEDULES:
        mode = RECIPE.modes[name].options
        length = {"--max-update": short}
        if "--total-num-update" not in mode:
            length["--total-num-update"] = short
        runs[name] = logged(data, option_list(RECIPE.training, mode, length))
    return runs


def logged(data: Path, options: list[str]) -> dict:
    """A training's options and the numbers of its log."""
    progress = ["--log-format", "json", "--log-interval", EVERY, "--no-save", "--disable-validation"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        fairseq("train", data, "--task", "bang", "--cpu", *progress, *options, output=log)
        lines = [json.loads(line[line.index("{") :]) for line in read_lines(log) if '"num_updates"' in line]
    rows = list(map(numbers, lines))
    return {"options": " ".join(options), "log": [row for row in rows if "lr" in row]}
