"""Published results, to print beside ours. Their names are those that `bang evaluate` gives the same computation.

All are in percent, by beam search where the mode is AR. GENIE's main table is not here: it is the best of ten outputs,
chosen by ROUGE against the reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

BANG = "BANG (Qi et al., ICML 2021)"
PREDAT = "PreDAT (Huang et al., TACL 2023)"
DEER = "DEER (RoBERTa with CTC and Levenshtein refinement)"


@dataclass(frozen=True)
class Published:
    """A row of a paper.

    Attributes:
        values: one per number of its task, in the task's order.
        second_hand: not read in the paper itself but in works that cite it.
        speed: as `scripts.results.SPEED` names it, on the task's test set.
        note: what else the reader has to know.
    """

    model: str
    mode: str
    values: tuple[float, ...]
    source: str
    second_hand: bool = False
    speed: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Task:
    """What a task is judged by.

    Attributes:
        names: its numbers, with their names in papers.
        options: of `bang evaluate`, for numbers that compare with the published ones.
        overall: papers report the mean of the columns too.
        remarks: what to know of all rows.
    """

    data: str
    names: Mapping[str, str]
    options: str
    rows: list[Published]
    overall: bool = True
    remarks: tuple[str, ...] = ()


def bang(ar: tuple[float, ...], semi_nar: tuple[float, ...], nar: Published) -> list[Published]:
    unknown = "how it writes was not recovered and the release has no code for it; our semi_nar is our reading"
    return [
        Published("BANG", "AR", ar, BANG, second_hand=True),
        Published("BANG", "semi-NAR", semi_nar, BANG, second_hand=True, note=unknown),
        nar,
    ]


def speed(ms: float, per_second: float) -> dict[str, float]:
    return {"ms_per_sentence": ms, "sentences_per_second": per_second}


def predat(model: str, mode: str, *values: float, speed: Mapping[str, float] | None = None) -> Published:
    """A row of PreDAT's tables, its own or another model's."""
    return Published(model, mode, values, PREDAT, speed=speed or {})


def deer(steps: int, values: tuple[float, ...], speedup: float) -> Published:
    mode = f"NAR, {steps} step{'s' * (steps > 1)}"
    return Published("DEER", mode, values, DEER, note=f"{speedup} times as fast as BART, batch 1, V100")


PREDAT_SPEED = "PreDAT's speeds: latency at batch 1 and throughput of the best large batch, its authors' machine"
CASE = "outputs are mended and references are not, see docs/evaluation.md"

TASKS = {
    "question_generation": Task(
        "SQuAD 1.1",
        {"rouge_coco_l": "R-L", "bleu_4": "B-4", "meteor15": "MTR"},
        "--metrics rouge-coco bleu meteor --mend squad --tokenize none --lowercase --sources SOURCES "
        "--meteor-jar METEOR-1.5.JAR",
        [
            *bang(
                ar=(49.32, 21.40, 24.25),
                semi_nar=(47.39, 17.62, 21.69),
                nar=Published("BANG", "NAR", (44.07, 12.75, 18.99), BANG),
            ),
            predat("Transformer", "AR", 29.43, 4.61, 9.86),
            predat("MASS", "AR", 49.48, 20.16, 24.41),
            predat("BART", "AR", 42.55, 17.06, 23.19),
            Published("ProphetNet", "AR", (48.00, 19.58, 23.94), "ProphetNet (Qi et al., Findings of EMNLP 2020)"),
            predat("Vanilla NAT", "NAR", 31.51, 2.46, 8.86),
            predat("GLAT+CTC", "NAR", 30.31, 3.21, 10.21),
            predat("DSLP+CTC", "NAR", 28.70, 3.00, 10.59),
            predat("LatentGLAT", "NAR", 28.28, 2.38, 10.43),
            Published("MIST", "NAR", (47.13, 16.00, 21.10), "MIST (Jiang et al., 2021)"),
            deer(1, (48.2, 16.9, 21.7), 6.3),
            deer(2, (49.9, 19.9, 23.7), 2.9),
            deer(4, (49.9, 20.3, 24.0), 1.9),
            predat("PreDAT, not pretrained", "NAR", 30.11, 3.30, 10.32),
            predat("PreDAT", "NAR", 49.78, 21.74, 24.58),
            predat("PreDAT + beam", "NAR", 50.41, 22.66, 25.11),
        ],
        remarks=(CASE,),
    ),
    "summarization": Task(
        "XSum",
        {"rouge155_1": "R-1", "rouge155_2": "R-2", "rouge155_l": "R-L"},
        "--metrics rouge-155",
        [
            *bang(
                ar=(41.09, 18.37, 33.22),
                semi_nar=(34.71, 11.71, 29.16),
                nar=Published(
                    "BANG", "NAR", (32.59, 8.98, 27.41), BANG, speed=speed(18, 360), note="speed: PreDAT's authors'"
                ),
            ),
            predat("Transformer", "AR", 30.66, 10.80, 24.48),
            predat("MASS", "AR", 39.70, 17.24, 31.91, speed=speed(353, 12)),
            predat("BART", "AR", 38.79, 16.16, 30.61),
            predat("ProphetNet", "AR", 39.89, 17.12, 32.07),
            predat("Vanilla NAT", "NAR", 24.04, 3.88, 20.32),
            predat("GLAT+CTC", "NAR", 31.34, 9.06, 24.68, speed=speed(24, 267)),
            predat("DSLP+CTC", "NAR", 28.75, 7.35, 22.73, speed=speed(24, 265)),
            predat("LatentGLAT", "NAR", 28.44, 7.00, 22.66, speed=speed(28, 334)),
            Published(
                "MIST",
                "NAR",
                (34.63, 11.29, 28.70),
                "MIST (Jiang et al., 2021)",
                speed=speed(22, 159),
                note="speed: PreDAT's authors'",
            ),
            Published("ELMER", "NAR", (38.30, 14.17, 29.92), "ELMER (Li et al., EMNLP 2022)"),
            deer(1, (34.1, 12.2, 28.9), 9.3),
            deer(2, (38.5, 16.1, 32.0), 4.7),
            deer(4, (39.1, 16.8, 32.4), 2.5),
            predat("PreDAT, not pretrained", "NAR", 32.56, 11.17, 26.21, speed=speed(25, 272)),
            predat("PreDAT", "NAR", 38.80, 16.07, 31.78, speed=speed(26, 278)),
            predat("PreDAT + beam", "NAR", 39.79, 17.38, 32.71, speed=speed(63, 214)),
        ],
        remarks=(PREDAT_SPEED,),
    ),
    "dialogue": Task(
        "PersonaChat, mean sentence BLEU (GLGE)",
        {"glge_bleu_1": "sentence B-1", "glge_bleu_2": "sentence B-2", "distinct_1": "D-1", "distinct_2": "D-2"},
        "--metrics glge-bleu distinct",
        bang(
            ar=(45.77, 35.54, 1.4, 8.4),
            semi_nar=(39.82, 30.72, 1.9, 14.2),
            nar=Published("BANG", "NAR", (31.11, 23.90, 2.5, 22.7), BANG),
        ),
        remarks=("sentence BLEU, smoothed: not comparable with corpus BLEU of the same data (dialogue_corpus)",),
    ),
    "dialogue_corpus": Task(
        "PersonaChat, corpus BLEU (PreDAT)",
        {"bleu_1": "corpus B-1", "bleu_2": "corpus B-2", "distinct_1": "D-1", "distinct_2": "D-2"},
        "--metrics bleu distinct --tokenize none",
        [
            predat("MASS", "AR", 26.82, 14.70, 1.20, 7.58, speed=speed(180, 25)),
            predat("BART", "AR", 26.84, 14.69, 1.39, 8.85, speed=speed(199, 23)),
            predat("Vanilla NAT", "NAR", 18.33, 6.37, 0.43, 0.96, speed=speed(23, 703)),
            predat("BANG", "NAR", 17.38, 7.33, 2.12, 23.02, speed=speed(18, 649)),
            predat("MIST", "NAR", 18.55, 8.86, 0.54, 2.56, speed=speed(25, 330)),
            predat("PreDAT", "NAR", 27.06, 15.05, 1.33, 8.31, speed=speed(24, 507)),
            predat("PreDAT + beam", "NAR", 27.31, 15.39, 1.15, 6.30, speed=speed(48, 318)),
        ],
        overall=False,
        remarks=("corpus BLEU: not comparable with sentence BLEU of the same data (dialogue)", PREDAT_SPEED),
    ),
    "paraphrasing": Task(
        "Quora question pairs",
        {"bleu_1": "B-1", "bleu_4": "B-4", "meteor15": "MTR"},
        "--metrics bleu meteor --mend quora --tokenize none --lowercase --sources SOURCES --meteor-jar METEOR-1.5.JAR",
        [
            predat("Transformer", "AR", 58.57, 30.14, 31.79),
            predat("MASS", "AR", 60.56, 32.39, 32.92),
            predat("BART", "AR", 61.56, 31.57, 32.42),
            predat("ProphetNet", "AR", 62.59, 33.80, 33.95),
            predat("Vanilla NAT", "NAR", 39.85, 9.33, 18.90),
            predat("GLAT+CTC", "NAR", 58.96, 26.67, 30.55),
            predat("DSLP+CTC", "NAR", 61.12, 29.70, 32.37),
            predat("LatentGLAT", "NAR", 59.78, 28.30, 31.26),
            predat("BANG", "NAR", 55.18, 24.97, 25.99),
            predat("MIST", "NAR", 59.65, 29.00, 31.56),
            predat("PreDAT, not pretrained", "NAR", 59.82, 28.17, 31.10),
            predat("PreDAT", "NAR", 62.63, 32.59, 33.37),
            predat("PreDAT + beam", "NAR", 62.62, 33.18, 33.52),
        ],
        remarks=(CASE,),
    ),
    "story_generation": Task(
        "ROCStories",
        {"bleu_1": "corpus B-1", "bleu_2": "corpus B-2", "distinct_4": "D-4"},
        "--metrics bleu distinct --mend squad --tokenize none",
        [
            predat("MASS", "AR", 35.02, 16.96, 51.20),
            predat("BART", "AR", 35.45, 17.22, 49.03),
            predat("Vanilla NAT", "NAR", 28.44, 11.29, 89.13),
            predat("BANG", "NAR", 29.38, 11.78, 92.10),
            predat("MIST", "NAR", 23.57, 9.09, 8.15),
            predat("PreDAT", "NAR", 34.11, 17.17, 57.50),
            predat("PreDAT + beam", "NAR", 34.61, 17.84, 50.55),
        ],
        overall=False,
        remarks=(CASE,),
    ),
    "wmt14_en_de": Task(
        "WMT 2014, English to German, raw data",
        {"bleu_4": "BLEU"},
        "--metrics bleu --tokenize none",
        [
            Published("Transformer", "AR", (28.07,), "DA-Transformer"),
            Published("DA-Transformer, greedy", "NAR", (26.08,), "DA-Transformer", note="14.0 times as fast"),
            Published("DA-Transformer, lookahead", "NAR", (26.57,), "DA-Transformer", note="13.9 times as fast"),
            Published("DA-Transformer, beam", "NAR", (27.02,), "DA-Transformer", note="7.1 times as fast"),
            Published("DA-Transformer, beam + 5-gram LM", "NAR", (27.25,), "DA-Transformer", note="7.0 times as fast"),
        ],
        overall=False,
        remarks=("BLEU of words as Moses splits them, on both sides",),
    ),
}


@dataclass(frozen=True)
class Milestone:
    """A step of the field towards writing in few passes.

    Attributes:
        kind: one of `KINDS`.
        arxiv: number of the paper.
        speed, quality: what the paper's abstract says of them, empty where it gives no figure.
        second_hand: not read in the abstract itself but in works that describe it.
    """

    year: int
    model: str
    kind: str
    arxiv: str
    speed: str = ""
    quality: str = ""
    second_hand: bool = False


# in the order of a figure's lanes
KINDS = ("one pass", "refined", "drafted and verified", "several tokens at once", "diffusion")

FIELD = [
    Milestone(2017, "NAT with fertilities", "one pass", "1711.02281"),
    Milestone(2018, "blockwise parallel decoding", "drafted and verified", "1811.03115"),
    Milestone(2019, "Mask-Predict (CMLM)", "refined", "1904.09324", quality="within about 1 BLEU of AR"),
    Milestone(2019, "Levenshtein Transformer", "refined", "1905.11006"),
    Milestone(2020, "ProphetNet", "several tokens at once", "2001.04063"),
    Milestone(2020, "GLAT", "one pass", "2008.07905"),
    Milestone(2020, "BANG", "one pass", "2012.15525"),
    Milestone(2022, "DA-Transformer", "one pass", "2205.07459"),
    Milestone(
        2022, "speculative decoding", "drafted and verified", "2211.17192", "2 to 3 times (T5-XXL)", "identical outputs"
    ),
    Milestone(2023, "PreDAT", "one pass", "2304.11791"),
    Milestone(2024, "Medusa", "drafted and verified", "2401.10774", "2.2 to 3.6 times", second_hand=True),
    Milestone(
        *(2024, "multi-token prediction", "several tokens at once", "2404.19737", "up to 3 times (4 tokens)"),
        quality="13B: 12 % more HumanEval problems, 17 % more MBPP",
    ),
    Milestone(2024, "DeepSeek-V3 (MTP)", "several tokens at once", "2412.19437"),
    Milestone(2025, "LLaDA", "diffusion", "2502.09992"),
    Milestone(
        2025, "block diffusion (BD3-LM)", "diffusion", "2503.09573", quality="best perplexity of diffusion models"
    ),
    Milestone(
        *(2025, "Mercury Coder Mini", "diffusion", "2506.17298", "1,109 tokens per second (H100)"),
        quality="comparable with speed-optimised AR models",
    ),
]
