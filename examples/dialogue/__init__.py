"""Dialogue with a persona (PersonaChat)."""

from bang_plugin.evaluation import Options

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes


def pairs(record: dict):
    """Every turn's answer, the last of its candidates, from the persona and what was said so far."""
    persona = " ".join(record["personality"])
    for turn in record["utterances"]:
        yield f"{persona} [SEP] {' [SEP] '.join(turn['history'])}", turn["candidates"][-1]


RECIPE = Recipe(
    name="dialogue",
    title="The next turn of a dialogue, from a persona and the history (PersonaChat).",
    # its public copy has no test part of its own: the usual practice is to report on the validation part,
    # of which a record in two is kept for choosing the checkpoint
    source=hub.source(
        "AlekseyKorshuk/persona-chat",
        pairs,
        {"train": "train", "dev": "validation[:50%]", "test": "validation[50%:]"},
    ),
    training=FINE_TUNING,
    modes=fine_tuning_modes(ar_updates=7000),
    decodings=decodings(longest=64),
    metrics={
        "glge-bleu": ("glge_bleu_1", "glge_bleu_2"),
        "bleu": ("bleu_1", "bleu_2"),
        "distinct": ("distinct_1", "distinct_2"),
    },
    judging=Options(tokenize="none"),
    references_as_written=True,
    tables=("dialogue", "dialogue_corpus"),
    processes=8,
)
