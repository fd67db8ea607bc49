"""Tables 1 and 2: BANG among other models, and AR against NAR."""

from scripts.published import TASKS, Published

from ..forms import DECODINGS, MEASURES, decoding_names, demo, one_checkpoint, points, task_names
from ..registry import table

SHOWN = ("question_generation", "summarization")  # published tables
MODELS = ("BANG", "MASS", "ProphetNet", "Vanilla NAT", "GLAT+CTC", "MIST", "PreDAT")
PEERS = (
    "transformer, ar",
    "nat, nat",
    "cmlm, cmlm-4",
)  # fairseq's own models of the same size, where they were trained


def published(task: str, row: Published, say) -> dict:
    names = TASKS[task].names
    number = list(names.values()).index("R-L")
    source = say("published, second-hand", "已发表，转引") if row.second_hand else say("published", "已发表")
    return line(
        say,
        row.model,
        row.mode,
        TASKS[task].data,
        "ROUGE-L",
        row.values[number],
        row.speed.get("ms_per_sentence"),
        row.speed.get("sentences_per_second"),
        f"{source}: {row.source}",
    )


def line(say, model, mode, data, measure, value, ms, per_second, source) -> dict:
    return {
        say("model", "模型"): model,
        say("mode", "模式"): mode,
        say("data", "数据"): data,
        say("measure", "指标"): measure,
        say("value", "数值"): value,
        say("ms a sentence", "每句毫秒"): "" if ms is None else ms,
        say("sentences / s", "句/秒"): "" if per_second is None else per_second,
        say("source", "来源"): source,
    }


@table(1, "translation", "package_summaries", code=("scripts/published.py",))
def models(found, say) -> list[dict]:
    rows = [
        published(task, row, say)
        for task in SHOWN
        for row in TASKS[task].rows
        if row.model in MODELS and (row.model == "BANG" or row.speed)
    ]
    names, measured = decoding_names(say), say("measured", "实测")
    for task in ("package_summaries", "translation"):
        everything, ours = points(found[task], task), one_checkpoint(found[task], task)
        chosen = [
            (name.split(", ")[0], names.get(name.split(", ")[1], name.split(", ")[1]), everything[name])
            for name in PEERS
            if name in everything
        ]
        chosen += [("BANG", names[name], ours[name]) for name in ("ar", "speculative", "nar") if name in ours]
        for model, mode, point in chosen:
            rows.append(
                line(
                    say,
                    model,
                    mode,
                    task_names(say)[task],
                    MEASURES[point.measure][0],
                    point.quality,
                    point.ms,
                    point.per_second,
                    measured,
                )
            )
    return rows


@table(2, "demo", "translation", "package_summaries", "memory")
def two_ways(found, say) -> list[dict]:
    names, tasks = decoding_names(say), task_names(say)
    kinds = {"demo": demo(found["demo"])}
    kinds |= {task: one_checkpoint(found[task], task) for task in ("translation", "package_summaries")}
    rows = []

    def add(task, decoding, **known) -> None:
        columns = ("measure", "quality", "passes", "ms", "per_second", "memory")
        header = (
            say("measure", "指标"),
            say("quality", "质量"),
            say("passes", "遍数"),
            say("ms a sentence", "每句毫秒"),
            say("sentences / s", "句/秒"),
            say("peak memory (GB)", "内存峰值 (GB)"),
        )
        cells = {label: known.get(name, "") for name, label in zip(columns, header)}
        rows.append(
            {
                say("task", "任务"): task,
                say("decoding", "解码"): decoding,
                **{label: "" if value is None else value for label, value in cells.items()},
            }
        )

    for task, decodings in kinds.items():
        for name in DECODINGS:
            if name in ("ar", "ar-greedy", "nar") and name in decodings:
                point = decodings[name]
                add(
                    tasks[task],
                    names[name],
                    measure=MEASURES[point.measure][0],
                    quality=point.quality,
                    passes=point.passes,
                    ms=point.ms,
                    per_second=point.per_second,
                )
    for title, held in found["memory"]["tables"].items():
        if title.startswith("Generating"):
            most = max(row["batch"] for row in held)
            longest = max(row["source"] for row in held)
            for row in held:
                if row["batch"] == most and row["source"] == longest:
                    size = say(
                        f"bang_base, batch {most}, {longest} source tokens", f"bang_base，批 {most}，源 {longest} 词"
                    )
                    add(size, row["mode"].removeprefix("bang "), memory=row["peak (GB)"])
    return rows
