"""Small made records, one for everything that the lecture reads, in the forms in which runs are recorded."""

import json
import random
import shutil
from pathlib import Path

from examples.lecture.forms import DECODINGS, JUDGED
from examples.lecture.records import FOLDER, RECORDS
from examples.lecture.runs import SCHEDULES

DRAW = random.Random(7)
NUMBERS = {
    "translation": ("bleu_4", "chrf"),
    "package_summaries": ("rouge155_1", "rouge155_2", "rouge155_l"),
    "question_answering": ("em", "f1"),
    "long_texts": ("rouge_1", "rouge_2", "rouge_l", "bleu_4", "distinct_1", "distinct_2"),
    "classification": ("exact_match",),
    "long_documents": ("exact_match",),
    "training_strategies": ("phoneme_error_rate", "word_error_rate"),
}
DIAL = [f"all, {decoding}" for decoding in DECODINGS]
MODES = {
    "translation": [f"{mode}, {d}" for mode in ("transformer", "ar") for d in ("ar", "ar-greedy")]
    + ["nar, nar", "nar-distil, nar", *DIAL],
    "package_summaries": ["lead, lead", "nat, nat", "cmlm, cmlm-4", "nar, nar", *DIAL],
    "question_answering": DIAL,
    "long_texts": DIAL,
    "classification": ["head, head", "text, nar"],
    "long_documents": ["long, ar", "long, nar"],
    "training_strategies": [
        *("ar, ar", "nar, nar", "joint, ar", "joint, nar", "seed_2, ar", "seed_2, nar"),
        *("four_streams, ar", "four_streams, nar"),
    ],
}  # fmt: skip
TEXT = "the tool reads files files and writes what it has found"


def number(low: float = 5, high: float = 60) -> float:
    return DRAW.uniform(low, high)


def runs(task: str) -> list[dict]:
    """As the step ``score`` writes them."""
    found = []
    for mode in MODES[task]:
        speed = {"ms_per_sentence": number(), "sentences_per_second": number(50, 900), "passes": number(1, 20)}
        trained = {} if mode.startswith("lead") else {"minutes": number(), "updates": 100}
        scores = {name: number() for name in NUMBERS[task]}
        found.append(
            {
                "mode": mode,
                "scores": scores,
                "signatures": {},
                "speed": {} if not trained else speed,
                "training": trained,
            }
        )
    assert JUDGED[task] in NUMBERS[task]
    return found


def example(task: str) -> dict:
    """As ``scripts.doc_tables --record`` keeps an example's steps."""
    outputs = {mode: TEXT for mode in MODES[task]}
    sample = {
        "sentence": 1,
        "source": f"a source of {task} " * 9,
        "references": [f"{TEXT} in {task}"],
        "outputs": outputs,
    }
    report = None
    if task == "long_texts":
        parts = [
            {"words": words, "sentences": 3, "runs": {mode: number() for mode in DIAL}} for words in ("60–79", "80–")
        ]
        each = {mode: number() for mode in DIAL}
        report = {"by_length": parts, "repetition": each, "words": each}
    if task == "classification":
        classes = {name: number() for name in ("numpy", "torch")}
        report = {
            "f1": dict.fromkeys(MODES[task], classes),
            "linear": {"accuracy": number(), "f1": classes, "sentences_per_second": 9000.0},
        }
    return {
        "date": "2026-11-30",
        "machine": {},
        "sentences": 10,
        "samples": [sample],
        "report": report,
    }


def trial(name: str, seed: int, measure: str) -> dict:
    scores = {
        d: {measure: number(), "passes": number(1, 9)} for d in ("AR, greedy", "semi-NAR, K=2", "semi-NAR, K=4", "NAR")
    }
    return {
        "name": name,
        "seed": seed,
        "command": f"fairseq-train DATA --seed {seed}",
        "minutes": number(),
        "scores": scores,
    }


def logs() -> dict:
    """What fairseq-train logs, in two lines each."""
    lines = [
        {"num_updates": n, "ar_nll": 5.0 - n / 100, "lr": n / 1000, "gnorm": 2.0, "clip": 50.0} for n in (20.0, 40.0)
    ]
    both = [{**line, "nar_nll": 6.0, "all_nll": 5.5, "stream4_nll": 6.5} for line in lines]
    return {"ar_first": {"options": "", "log": both}, **{name: {"options": "", "log": lines} for name in SCHEDULES}}


def traces() -> dict:
    whole = ["B", "AE", "NG", "</s>"]

    def steps(*counts: int) -> list[dict]:
        found, start = [], 0
        for count in counts:
            tokens = whole[start : start + count]
            found.append({"pass": len(found) + 1, "tokens": tokens, "probabilities": [0.5] * count, "kept": count})
            start += count
        return found

    drafted = steps(1, 3)
    drafted[1]["draft"] = ["AE", "N"]
    kinds = {
        "ar": steps(1, 1, 1, 1),
        "nar": steps(4),
        "semi_nar": steps(4),
        "adaptive": drafted,
        "speculative": drafted,
    }
    kinds |= {"beam": steps(1, 1), "lookahead": steps(2)}
    shown = {name: {"score": -0.1, "passes": len(trace), "trace": trace} for name, trace in kinds.items()}
    sentence = {"sentence": 1, "source": "b a n g", "references": ["B AE NG"], "traces": shown}
    return {"options": {"adaptive": {"tolerance": 1.0}}, "tried": 4, "sentences": [sentence]}


def write(folder: Path) -> None:
    """Write all; records that are measured already are copied."""
    told = {"command": "python -m examples.lecture --fresh", "date": "2026-11-30", "seed": 1}
    made: dict[str, object] = {}
    for task in NUMBERS:
        made[f"{task}.json"] = {"runs": runs(task), "trainings": {"all": {"seed": 1}}, **example(task)}
    for task, kinds, measure in (
        ("spelling", ("from-start", "ar-first", "nar-alone"), "word_error_rate"),
        ("translation", ("from-start", "ar-first"), "bleu_4"),
        ("pretraining", ("scratch", "scratch-ar-first", "tenth", "nar-half"), "rouge155_l"),
    ):
        for name in kinds:
            for seed in (1, 2):
                made[f"trials/{task}/{name}-s{seed}.json"] = trial(name, seed, measure)
    made["memory.json"] = {
        "tables": {"Generating 26 tokens": [
            {"mode": mode, "source": 128, "batch": 8, "model (GB)": 0.5, "peak (GB)": number(1, 2)}
            for mode in ("bang ar, beam 4", "bang nar")
        ]},
    }  # fmt: skip
    made["lecture/traces.json"] = {**told, **traces()}
    made["lecture/logs.json"] = {**told, "updates": 40, "runs": logs()}
    answers = [{"command": f"echo {n} | fairseq-interactive", "output": f"H-0\t-0.1\t{n}"} for n in range(1, 7)]
    made["lecture/discussion.json"] = {**told, "answers": answers}
    for path, content in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    for record in RECORDS.values():
        if "*" not in record.path and not (folder / record.path).exists():
            (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(FOLDER / record.path, folder / record.path)
