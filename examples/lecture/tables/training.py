"""Tables 6 and 7: ways to train, and strategies of optimisation."""

from ..forms import JUDGED, MEASURES, main_measure, points, trials
from ..registry import table
from .mechanism import GREEDY, KINDS, NAR


@table(6, "translation", "trials pretraining", "trials spelling")
def methods(found, say) -> list[dict]:
    rows: list[dict] = []

    def add(task: str, method: str, minutes, measure: str, ar, nar) -> None:
        rows.append(
            {
                say("task", "任务"): task,
                say("method", "方法"): method,
                say("minutes", "分钟"): minutes,
                say("measure", "指标"): MEASURES[measure][0],
                say("AR, greedy", "AR 贪心"): ar,
                "NAR": nar,
            }
        )

    names = {
        "transformer": say("fairseq's Transformer, AR", "fairseq Transformer，AR"),
        "ar": say("separate: AR alone", "分别：仅 AR"),
        "nar": say("separate: NAR alone", "分别：仅 NAR"),
        "nar-distil": say("separate, distilled: NAR alone", "分别，蒸馏：仅 NAR"),
        "all": say("joint: one checkpoint", "联合：一个检查点"),
        "all-distil": say("joint, NAR distilled", "联合，NAR 蒸馏"),
    }
    runs, task = points(found["translation"], "translation"), say("translation", "翻译")
    minutes = {
        run["mode"].split(", ")[0]: run.get("training", {}).get("minutes", "") for run in found["translation"]["runs"]
    }
    for mode, name in names.items():
        both = [runs.get(f"{mode}, {decoding}") for decoding in ("ar-greedy", "nar")]
        if any(both):
            add(task, name, minutes[mode], JUDGED["translation"], *(point.quality if point else "" for point in both))
    for record, task in (
        ("trials pretraining", say("pretraining", "预训练")),
        ("trials spelling", say("spelling", "拼写")),
    ):
        kinds = trials(found[record])
        measure = main_measure(kinds)
        for kind, trial in kinds.items():
            name = say(*KINDS[kind]) if kind in KINDS else kind
            add(
                task,
                f"{name} ({len(trial.seeds)})",
                trial.minutes,
                measure,
                trial.shown(GREEDY, measure),
                trial.shown(NAR, measure),
            )
    return rows


@table(7, "training_strategies", "trials spelling", code=("examples/training_strategies/__init__.py",))
def strategies(found, say) -> list[dict]:
    runs = points(found["training_strategies"], "training_strategies")
    base = {decoding: runs[f"joint, {decoding}"].quality for decoding in ("ar", "nar")}
    rows = []
    for mode in dict.fromkeys(name.split(", ")[0] for name in runs):
        row: dict = {say("strategy", "策略"): mode}
        for decoding, value in base.items():
            point = runs.get(f"{mode}, {decoding}")
            label = say(f"{decoding.upper()}: word errors (%)", f"{decoding.upper()}：词错误率 (%)")
            row[label] = point.quality if point else ""
            row[label + say(", against joint", "，与 joint 之差")] = point.quality - value if point else ""
        row[say("seeds", "种子数")] = 1
        rows.append(row)
    for kind, trial in trials(found["trials spelling"]).items():
        cells = [trial.shown(GREEDY, "word_error_rate"), "", trial.shown(NAR, "word_error_rate"), ""]
        name = say(*KINDS[kind]) if kind in KINDS else kind
        rows.append(dict(zip(rows[0], [f"{name}, {trial.minutes:.0f} min", *cells, len(trial.seeds)])))
    return rows
