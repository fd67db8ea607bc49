"""Tables 9 and 10: where NAR pays and where not, and what each improvement gave."""

from ..figures.trade import RECORDED, gains_of, tasks_of, worth
from ..forms import decoding_names, part, task_names
from ..registry import table


@table(9, *RECORDED)
def strengths(found, say) -> list[dict]:
    names, rows = task_names(say), []
    for task, ours in tasks_of(found).items():
        ar, nar = ours["ar-greedy"], ours["nar"]
        alone, batched = ar.ms / nar.ms, nar.per_second / ar.per_second
        kept = 100 * nar.good / ar.good
        rows.append(line(say, names[task], kept, alone, batched, worth(kept, alone, say), record(task)))
    for group in part(found["long_texts"], "long_texts", "report")["by_length"]:
        ar, nar = (group["runs"].get(f"all, {name}") for name in ("ar-greedy", "nar"))
        if ar and nar is not None:
            words = say(f"{names['long_texts']}, {group['words']} words", f"{names['long_texts']}，{group['words']} 词")
            rows.append(line(say, words, 100 * nar / ar, "", "", "", "docs/results/long_texts.json"))
    return rows


def record(task: str) -> str:
    return "docs/demo.md" if task == "demo" else f"docs/results/{task}.json"


def line(say, where, kept, alone, batched, pays, evidence) -> dict:
    return {
        say("where", "场合"): where,
        say("quality kept (%)", "保留质量 (%)"): kept,
        say("times as fast, alone", "单句加速倍数"): alone,
        say("times as fast, in batches", "批量加速倍数"): batched,
        say("does NAR pay?", "NAR 划算吗？"): pays,
        say("evidence", "证据"): evidence,
    }


@table(10, *RECORDED, "trials pretraining", "export", "traces")
def improvements(found, say) -> list[dict]:
    rows = []

    def add(name: str, before, after, ar, closed, evidence: str) -> None:
        rows.append(
            {
                say("improvement", "改进"): name,
                say("before", "之前"): before,
                say("after", "之后"): after,
                "AR": ar,
                say("gap closed (%)", "弥补差距 (%)"): closed,
                say("evidence", "证据"): evidence,
            }
        )

    for gain in gains_of(found, say):
        add(gain.name, gain.before, gain.after, gain.ar, "" if gain.closed is None else gain.closed, gain.evidence)
    passes = say("passes", "遍")
    for task, ours in tasks_of(found).items():
        for slow, fast in (("ar-greedy", "speculative"), ("ar", "lookahead")):
            if slow in ours and fast in ours:
                what = f"{decoding_names(say)[fast]}, {task_names(say)[task]} ({passes})"
                add(what, ours[slow].passes, ours[fast].passes, "", "", record(task))
    title = next(name for name in found["export"]["tables"] if name.endswith(" sentences"))
    for row in found["export"]["tables"][title]:
        if row["decoding"] == "nar" and row["by"] != "torch":
            torch = next(
                one for one in found["export"]["tables"][title] if one["decoding"] == "nar" and one["by"] == "torch"
            )
            add(
                say(f"cheaper passes: {row['by']} (ms)", f"更便宜的遍：{row['by']}（毫秒）"),
                torch["ms, batch 1"],
                row["ms, batch 1"],
                "",
                "",
                "docs/results/export.json",
            )
    traced = found["traces"]["sentences"]
    add(
        say(f"traces: every pass of {len(traced)} words can be read", f"轨迹：{len(traced)} 个词的每一遍可读"),
        "",
        "",
        "",
        "",
        "docs/results/lecture/traces.json",
    )
    return rows
