"""What the classification head needs beyond the common steps: its data, its answers, and a peer."""

import json
import time
from argparse import Namespace
from pathlib import Path

import torch
from fairseq import checkpoint_utils, utils
from tqdm import tqdm

from ..generate import ALONE
from ..workspace import Workspace, fairseq, read_lines, whole, write_lines, write_text

PLUGIN = Path(__file__).parent / "bang_classifier"
HEAD = "sentence_classification_head"
BATCH = 64  # paragraphs classified at a time


def binarise(work: Workspace) -> None:
    """Write ``bin/input0`` and ``bin/label`` for fairseq's ``sentence_prediction``."""
    parts = {"train": "train", "valid": "dev", "test": "test"}
    texts = [option for name, part in parts.items() for option in (f"--{name}pref", work.pieces / f"{part}.src")]
    labels = [option for name, part in parts.items() for option in (f"--{name}pref", work.raw / f"{part}.tgt")]
    dictionary = ["--srcdict", work.bin / "dict.src.txt"]
    for name, options in (("input0", [*texts, *dictionary]), ("label", labels)):
        with whole(work.bin / name) as part:
            fairseq("preprocess", "--task", "bang", "--only-source", "--destdir", part, *options)


def write(work: Workspace, run: str, checkpoint: Path) -> None:
    """Classify the test set."""
    utils.import_user_module(Namespace(user_dir=str(PLUGIN)))
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(checkpoint)], arg_overrides={"data": str(work.bin), "no_shuffle": True}
    )
    model.eval()
    dataset = task.load_dataset("test")
    labels = task.label_dictionary

    def classify(batch_size: int, shards: int) -> tuple[dict[int, str], float]:
        """Labels of a shard's sentences, and seconds per sentence."""
        answers: dict[int, str] = {}
        batches = task.get_batch_iterator(dataset, max_sentences=batch_size, num_shards=shards, shard_id=0)
        start = time.perf_counter()
        for batch in tqdm(batches.next_epoch_itr(shuffle=False), desc=f"classify by {batch_size}", unit="batch"):
            with torch.no_grad():
                scores, _ = model(**batch["net_input"], classification_head_name=HEAD)
            for i, label in zip(batch["id"].tolist(), scores.argmax(1).tolist()):
                answers[i] = labels[label + labels.nspecial]
        return answers, (time.perf_counter() - start) / len(answers)

    answers, seconds = classify(BATCH, 1)
    _, alone = classify(1, max(1, len(dataset) // ALONE))
    output = work.outputs / run / "head"
    write_lines(output.with_suffix(".txt"), (answers[i] for i in range(len(dataset))))
    costs = {"ms_per_sentence": 1000 * alone, "sentences_per_second": 1 / seconds, "batch_size": BATCH, "passes": 1.0}
    write_text(output.with_suffix(".json"), json.dumps(costs))


def report(work: Workspace, runs) -> dict:
    """Print what a bag of words gets: the peer that needs no neural network.

    Returns:
        ``linear``, its accuracy, F1 of each class and speed; ``f1``, F1 of each class of every run; all in percent.
    """
    answers, per_second = bag_of_words(work)
    expected = read_lines(work.raw / "test.tgt")
    right = 100 * sum(map(str.__eq__, answers, expected)) / len(expected)
    print(f"TF-IDF of words and pairs of words, logistic regression (scikit-learn): {right:.2f} % right")
    texts = {}
    for run in runs:
        folder, decoding = run.mode.split(", ")
        texts[run.mode] = read_lines(work.outputs / folder / f"{decoding}.txt")
    return {
        "linear": {"accuracy": right, "f1": by_class(answers, expected), "sentences_per_second": per_second},
        "f1": {mode: by_class(lines, expected) for mode, lines in texts.items()},
    }


def by_class(answers: list[str], expected: list[str]) -> dict[str, float]:
    """F1 of each class, percent."""
    from sklearn.metrics import f1_score

    classes = sorted(set(expected))
    values = f1_score(expected, answers, labels=classes, average=None, zero_division=0)
    return {name: 100 * float(value) for name, value in zip(classes, values)}


def bag_of_words(work: Workspace) -> tuple[list[str], float]:
    """What logistic regression on TF-IDF answers, and how many texts a second it reads."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = {part: [read_lines(work.raw / f"{part}.{side}") for side in ("src", "tgt")] for part in ("train", "test")}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000)).fit(*texts["train"])
    start = time.perf_counter()
    answers = list(model.predict(texts["test"][0]))
    return answers, len(answers) / (time.perf_counter() - start)
