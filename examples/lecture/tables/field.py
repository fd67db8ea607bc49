"""Table 11: trends of the field, as published."""

from scripts.published import FIELD, TASKS

from ..figures.field import PUBLISHED, kind_names
from ..registry import table

# what FIELD says of speed and quality, in Chinese
CHINESE = {
    "within about 1 BLEU of AR": "与 AR 相差约 1 BLEU",
    "2 to 3 times (T5-XXL)": "2 至 3 倍 (T5-XXL)",
    "identical outputs": "输出相同",
    "2.2 to 3.6 times": "2.2 至 3.6 倍",
    "up to 3 times (4 tokens)": "最多 3 倍（4 词）",
    "13B: 12 % more HumanEval problems, 17 % more MBPP": "13B：HumanEval 多解 12 %，MBPP 多解 17 %",
    "best perplexity of diffusion models": "扩散模型中困惑度最好",
    "1,109 tokens per second (H100)": "每秒 1,109 词 (H100)",
    "comparable with speed-optimised AR models": "与为速度优化的 AR 模型相当",
}


@table(11, code=(PUBLISHED,))
def trends(found, say) -> list[dict]:
    rows = []
    for entry in FIELD:
        speed, quality = (say(text, CHINESE[text]) if text else "" for text in (entry.speed, entry.quality))
        source = f"arXiv {entry.arxiv}" + say(", second-hand", "，转引") * entry.second_hand
        rows.append(
            {
                say("year", "年份"): str(entry.year),
                say("model", "模型"): entry.model,
                say("kind", "类别"): kind_names(say)[entry.kind],
                say("speed", "速度"): speed or told_by_tables(entry.model, say),
                say("quality", "质量"): quality,
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
