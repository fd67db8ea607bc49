"""Table 11: trends of the field, as published."""

from scripts.published import FIELD, TASKS

from ..figures.field import PUBLISHED, kind_names
from ..registry import table


@table(11, code=(PUBLISHED,))
def trends(found, say) -> list[dict]:
    rows = []
    for entry in FIELD:
        source = f"arXiv {entry.arxiv}" + say(", second-hand", "，转引") * entry.second_hand
        rows.append(
            {
                say("year", "年份"): str(entry.year),
                say("model", "模型"): entry.model,
                say("kind", "类别"): kind_names(say)[entry.kind],
                say("speed", "速度"): entry.speed or told_by_tables(entry.model, say),
                say("quality", "质量"): entry.quality,
                say("source", "来源"): source,
            }
        )
    return rows


def told_by_tables(model: str, say) -> str:
    """Latency on XSum where PreDAT's table has it."""
    task = TASKS["summarization"]
    for row in task.rows:
        if row.model == model and row.mode == "NAR" and "ms_per_sentence" in row.speed:
            return say(
                f"{row.speed['ms_per_sentence']:g} ms a sentence (XSum)",
                f"每句 {row.speed['ms_per_sentence']:g} ms (XSum)",
            )
    return ""
