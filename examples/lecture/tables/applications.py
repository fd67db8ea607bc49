"""Tables 8, 12 and 13: results by task, classification, longer texts."""

from scripts.published import TASKS

from ..forms import MEASURES, decoding_names, one_checkpoint, part, points, task_names
from ..registry import table

SAME = ("translation", "package_summaries", "question_answering", "long_texts")  # judged in every decoding


@table(8, *SAME, "long_documents", "classification", code=("scripts/published.py",))
def tasks(found, say) -> list[dict]:
    names, rows = task_names(say), []

    def add(task: str, measure: str, ar, nar, ar_ms, nar_ms, source: str) -> None:
        rows.append(
            {
                say("task", "任务"): task,
                say("measure", "指标"): measure,
                say("AR, greedy", "AR 贪心"): ar,
                "NAR": nar,
                say("NAR keeps (%)", "NAR 保留 (%)"): 100 * nar / ar if ar else "",
                say("AR: ms", "AR：毫秒"): "" if ar_ms is None else ar_ms,
                say("NAR: ms", "NAR：毫秒"): "" if nar_ms is None else nar_ms,
                say("source", "来源"): source,
            }
        )

    measured = say("measured", "实测")
    for task in SAME:
        ours = one_checkpoint(found[task], task)
        ar, nar = ours["ar-greedy"], ours["nar"]
        add(names[task], MEASURES[ar.measure][0], ar.quality, nar.quality, ar.ms, nar.ms, measured)
    for task, pair in (("long_documents", ("long, ar", "long, nar")), ("classification", ("head, head", "text, nar"))):
        ar, nar = (points(found[task], task)[name] for name in pair)
        name = names[task] + say(" (head; label by NAR)", "（分类头；NAR 写标签）") * (task == "classification")
        add(name, MEASURES[ar.measure][0], ar.quality, nar.quality, ar.ms, nar.ms, measured)
    generation = TASKS["question_generation"]
    values = {row.mode: row for row in generation.rows if row.model == "BANG"}
    ar, nar = values["AR"].values[0], values["NAR"].values[0]
    source = say("published, AR second-hand: ", "已发表，AR 为转引：") + values["NAR"].source
    add(
        say("question generation (SQuAD)", "问题生成 (SQuAD)"),
        next(iter(generation.names.values())),
        ar,
        nar,
        None,
        None,
        source,
    )
    return rows


@table(12, "classification")
def classification(found, say) -> list[dict]:
    told = part(found["classification"], "classification", "report")
    runs = {run["mode"]: run for run in found["classification"]["runs"]}
    names = {"head, head": say("head", "分类头"), "text, nar": say("label as text, NAR", "标签作文本，NAR")}
    rows = []
    for mode, name in names.items():
        speed = runs[mode]["speed"]
        rows.append(
            measures(
                say,
                name,
                runs[mode]["scores"]["exact_match"],
                told["f1"][mode],
                speed["ms_per_sentence"],
                speed["sentences_per_second"],
            )
        )
    linear = told["linear"]
    rows.append(
        measures(
            say,
            say("linear, TF-IDF", "线性，TF-IDF"),
            linear["accuracy"],
            linear["f1"],
            "",
            linear["sentences_per_second"],
        )
    )
    return rows


def measures(say, name: str, accuracy: float, classes: dict[str, float], ms, per_second) -> dict:
    return {
        say("classifier", "分类器"): name,
        say("accuracy (%)", "准确率 (%)"): accuracy,
        **{f"F1 {label}": value for label, value in classes.items()},
        say("ms a text", "每条毫秒"): ms,
        say("texts / s", "条/秒"): per_second,
    }


NUMBERS = {
    "rouge_1": "ROUGE-1",
    "rouge_l": "ROUGE-L",
    "bleu_4": "BLEU",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
}


@table(13, "long_texts")
def long_texts(found, say) -> list[dict]:
    told, names = part(found["long_texts"], "long_texts", "report"), decoding_names(say)
    rows = []
    for run in found["long_texts"]["runs"]:
        mode, decoding = run["mode"].split(", ")
        rows.append(
            {
                say("model", "模型"): mode,
                say("decoding", "解码"): names.get(decoding, decoding),
                **{label: run["scores"][name] for name, label in NUMBERS.items()},
                say("repeated neighbours (%)", "相邻重复 (%)"): told["repetition"][run["mode"]],
                say("words", "词数"): told["words"][run["mode"]],
                say("passes", "遍数"): run["speed"].get("passes", ""),
                say("ms a text", "每条毫秒"): run["speed"].get("ms_per_sentence", ""),
            }
        )
    return rows
