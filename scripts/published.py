"""Published results, to print beside ours. Their names are those that ``bang evaluate`` gives the same computation.

All are in percent, by beam search where the mode is AR. Distinct is rounded to 0.1 as published.
"""

from dataclasses import dataclass

BANG = "BANG (Qi et al., ICML 2021)"


@dataclass(frozen=True)
class Published:
    """A row of a paper.

    Attributes:
        values: one per number of its task, in the task's order.
        second_hand: not read in the paper itself but in works that cite it.
    """

    model: str
    mode: str
    values: tuple[float, ...]
    source: str
    second_hand: bool = False


@dataclass(frozen=True)
class Task:
    """What a task is judged by.

    Attributes:
        names: its numbers, with their names in papers.
        options: of ``bang evaluate``, for numbers that compare with the published ones.
    """

    data: str
    names: dict[str, str]
    options: str
    rows: list[Published]


def bang(ar: tuple[float, ...], semi_nar: tuple[float, ...], nar: tuple[float, ...]) -> list[Published]:
    return [
        Published("BANG", "AR", ar, BANG, second_hand=True),
        Published("BANG", "semi-NAR", semi_nar, BANG, second_hand=True),
        Published("BANG", "NAR", nar, BANG),
    ]


def prophetnet(*values: float) -> Published:
    return Published("ProphetNet", "AR", values, "ProphetNet (Qi et al., Findings of EMNLP 2020)")


def mist(*values: float) -> Published:
    return Published("MIST", "NAR", values, "MIST (Jiang et al., 2021)")


def elmer(*values: float) -> Published:
    return Published("ELMER", "NAR", values, "ELMER (Li et al., EMNLP 2022)")


def predat(*values: float) -> Published:
    return Published("PreDAT", "NAR", values, "PreDAT (Huang et al., TACL 2023)")


TASKS = {
    "question_generation": Task(
        "SQuAD 1.1",
        {"rouge_coco_l": "R-L", "bleu_4": "B-4", "meteor15": "MTR"},
        "--metrics rouge-coco bleu meteor --tokenize none --lowercase --sources SOURCES --meteor-jar METEOR-1.5.JAR",
        [
            *bang(ar=(49.32, 21.40, 24.25), semi_nar=(47.39, 17.62, 21.69), nar=(44.07, 12.75, 18.99)),
            prophetnet(48.00, 19.58, 23.94),
            mist(47.13, 16.00, 21.10),
            predat(49.78, 21.74, 24.58),
        ],
    ),
    "summarization": Task(
        "XSum",
        {"rouge155_1": "R-1", "rouge155_2": "R-2", "rouge155_l": "R-L"},
        "--metrics rouge-155",
        [
            *bang(ar=(41.09, 18.37, 33.22), semi_nar=(34.71, 11.71, 29.16), nar=(32.59, 8.98, 27.41)),
            mist(34.63, 11.29, 28.70),
            elmer(38.30, 14.17, 29.92),
            predat(38.80, 16.07, 31.78),
        ],
    ),
    "dialogue": Task(
        "PersonaChat",
        {"glge_bleu_1": "B-1", "glge_bleu_2": "B-2", "distinct_1": "D-1", "distinct_2": "D-2"},
        "--metrics glge-bleu distinct",
        bang(ar=(45.77, 35.54, 1.4, 8.4), semi_nar=(39.82, 30.72, 1.9, 14.2), nar=(31.11, 23.90, 2.5, 22.7)),
    ),
}
