"""Tables 3, 4 and 5: each innovation's effect, what the hybrid gains, and what every setting of decoding does."""

from ..forms import MEASURES, demo, dial, main_measure, one_checkpoint, points, trials
from ..registry import table

GREEDY, BLOCKS, NAR = "AR, greedy", "semi-NAR, K=4", "NAR"
LOSS = "bang_plugin/criterions/nstream_loss.py"
# what a trial of this name trains
KINDS = {
    "from-start": ("one checkpoint, everything from the start", "一个检查点，从头训练全部"),
    "ar-first": ("one checkpoint, AR first", "一个检查点，先 AR"),
    "ar-first-start": ("one checkpoint, AR first, NAR after y0", "一个检查点，先 AR，NAR 在 y0 之后"),
    "nar-alone": ("NAR alone", "仅 NAR"),
}


@table(
    3,
    "trials spelling",
    "trials translation",
    "training_strategies",
    "dial translation",
    "demo",
    "cost",
    code=("bang_plugin/modules/streams.py",),
)
def innovations(found, say) -> list[dict]:
    rows: list[dict] = []

    def add(name: str, file: str, measure: str, with_it, without, record: str) -> None:
        rows.append(
            {
                say("innovation", "创新"): name,
                say("file", "文件"): file,
                say("measured", "测量"): measure,
                say("with it", "有"): with_it,
                say("without", "无"): without,
                say("record", "记录"): record,
            }
        )

    spelling, translation = trials(found["trials spelling"]), trials(found["trials translation"])
    strategies = points(found["training_strategies"], "training_strategies")
    errors, bleu = say("word errors (%)", "词错误率 (%)"), "BLEU"
    add(
        say("streams: chains of 4", "多流：4 长链"),
        "bang_plugin/modules/streams.py",
        f"{errors}, AR",
        strategies["four_streams, ar"].quality,
        strategies["joint, ar"].quality,
        "training_strategies.json",
    )
    add(
        say("NAR trained beside AR", "与 AR 同训的 NAR"),
        LOSS,
        f"{errors}, AR",
        strategies["joint, ar"].quality,
        strategies["ar, ar"].quality,
        "training_strategies.json",
    )
    for kinds, task, measure, label in (
        (spelling, "spelling", "word_error_rate", errors),
        (translation, "translation", "bleu_4", bleu),
    ):
        for decoding in (GREEDY, BLOCKS, NAR):
            add(
                say("AR first", "先 AR"),
                LOSS,
                f"{label}, {decoding}",
                kinds["ar-first"].mean(decoding, measure),
                kinds["from-start"].mean(decoding, measure),
                f"trials/{task}",
            )
    cost = found["cost"]["ms"]
    add(
        say("anchors: a block at 2 places", "锚点：两处成块"),
        LOSS,
        say("ms an update", "每次更新毫秒"),
        cost["anchors 2, dense"],
        cost["4 streams, dense"],
        "ar_first/cost.json",
    )
    exact = {point["decoding"]: point for point in found["dial translation"]["rows"]}
    add(
        say("verification by stream 1", "由流 1 验证"),
        "bang_plugin/decoding/speculative.py",
        say("as greedy AR (%)", "与贪心 AR 相同 (%)"),
        100 * exact["adaptive K=4, t=0"]["as greedy AR"],
        100 * exact[BLOCKS]["as greedy AR"],
        "dial_translation.json",
    )
    own = demo(found["demo"])
    add(
        say("candidates that AR chooses from", "由 AR 选择的候选"),
        "bang_plugin/decoding/candidates.py",
        f"{errors}, NAR",
        own["NAR, 8 candidates"].quality,
        own["nar"].quality,
        "docs/demo.md",
    )
    return rows


@table(4, "trials spelling", "trials translation", "cost")
def hybrid(found, say) -> list[dict]:
    rows = []
    for task, name in (
        ("trials spelling", say("spelling", "拼写")),
        ("trials translation", say("translation", "翻译")),
    ):
        kinds = trials(found[task])
        measure = main_measure(kinds)
        for kind, trial in kinds.items():
            rows.append(
                {
                    say("task", "任务"): name,
                    say("training", "训练"): say(*KINDS[kind]) if kind in KINDS else kind,
                    say("seeds", "种子数"): len(trial.seeds),
                    say("CPU minutes", "CPU 分钟"): trial.minutes,
                    say("measure", "指标"): MEASURES[measure][0],
                    **{decoding: trial.shown(decoding, measure) for decoding in (GREEDY, "semi-NAR, K=2", BLOCKS, NAR)},
                }
            )
    cost = found["cost"]["ms"]
    for kind in ("AR", "NAR", "4 streams, dense", "anchors 2, dense", "anchors 1, dense"):
        rows.append(
            {
                **dict.fromkeys(rows[0], ""),
                say("task", "任务"): say("ms an update", "每次更新毫秒"),
                say("training", "训练"): kind,
                say("CPU minutes", "CPU 分钟"): cost[kind],
            }
        )
    return rows


SETTINGS = (
    "greedy AR",
    "adaptive K=4, t=0",
    "adaptive K=4, t=1",
    "adaptive K=4, t=3",
    "confident K=4, p=0.5",
    "confident K=4, p=0.9",
    "semi-NAR, K=2",
    "semi-NAR, K=4",
    "NAR",
)


@table(5, "dial spelling", "dial translation", "translation")
def settings(found, say) -> list[dict]:
    rows = []
    for record, task in (("dial spelling", say("spelling", "拼写")), ("dial translation", say("translation", "翻译"))):
        agreement = {row["decoding"]: row["as greedy AR"] for row in found[record]["rows"]}
        for point in dial(found[record]):
            if point.name in SETTINGS:
                exact = say(" (speculative)", "（推测）") * point.name.endswith("t=0")
                rows.append(setting(say, task, point.name + exact, point, 100 * agreement[point.name]))
    ours = one_checkpoint(found["translation"], "translation")
    for name, label in (("ar", say("AR, beam 4", "AR，4 束")), ("lookahead", say("look-ahead, beam 4", "前瞻，4 束"))):
        if name in ours:
            rows.append(setting(say, say("translation, example", "翻译（示例）"), label, ours[name], ""))
    return rows


def setting(say, task: str, name: str, point, agreement) -> dict:
    return {
        say("task", "任务"): task,
        say("decoding", "解码"): name,
        say("measure", "指标"): MEASURES[point.measure][0],
        say("quality", "质量"): point.quality,
        say("passes", "遍数"): point.passes,
        say("ms a sentence", "每句毫秒"): point.ms,
        say("as greedy AR (%)", "与贪心 AR 相同 (%)"): agreement,
    }
