// What the pages say, in English and Chinese, and small helpers that all of them use.

export const STRINGS = {
  en: {
    pass: "pass {0}", passOf: "pass {0} of {1}", before: "before the first pass", kept: "kept {0} of {1}",
    rejected: "rejected draft", behind: "+ {0} behind the end", end: "end", chance: "probability {0}", unknown: "unknown",
    drafted: "drafted one pass before, and verified", instead: "written instead: {0}", others: "Most probable here",
    none: "The trace holds no alternatives.", output: "Output", passes: "Pass by pass", nothing: "nothing yet",
    first: "To the start", back: "One step back", play: "Play", pause: "Pause", next: "One step on", last: "To the end",
    position: "Position", steps: "Steps", said: "{0}: {1}", saidRejected: "{0}; rejected: {1}", ms: "{0} ms",
    colour: "colour: pass", shade: "shade: probability", struck: "struck through: rejected draft",
    hint: "Point at a token, or go to it with Tab and the arrow keys, for its alternatives.", language: "中文",
    dark: "Dark", light: "Light", slower: "{0} × slower than it was",
    facts: "passes: {0} · tokens: {1} · tokens per pass: {2} · score: {3}", missing: "This trace does not have the sentence.",
    tagline: "One model, from a token at a time to all at once. Watch it write.", text: "Text", how: "How to write",
    placeholder: "A source text, split as the model was trained on", run: "Write", stop: "Stop", link: "Link to this",
    block_size: "Block size", tolerance: "Tolerance (nats)", confidence: "Confidence", beam: "Beam (AR, speculative)",
    draft_width: "Draft width", nar_candidates: "Candidates", auto: "automatic", race: "AR against the decoding chosen",
    token: "Access token", unlock: "Use it", needsToken: "This server asks for an access token.", model: "Model: {0}",
    writing: "writing …", waiting: "waiting for its turn", warming: "warming up …", result: "passes: {0} · {1} ms · tokens: {2}",
    same: "Both wrote the same text.", differ: "Difference of the texts", only: "only {0}: ", nothingYet: "Nothing has been written yet.",
    faster: "{0}: {1} × the passes and {2} × the time of AR.", problem: "It did not work: {0}", noServer: "the server does not answer",
    badTrace: "the server sent no passes", stopped: "Stopped.", how_ar: "one pass for each token",
    how_speculative: "drafts ahead, verifies, and writes what AR writes", how_adaptive: "keeps drafts that AR finds nearly as good",
    how_confident: "keeps of each block what it is sure of", how_semi_nar: "keeps every block whole", how_nar: "one pass for everything",
    ar: "AR, token by token", speculative: "Speculative", adaptive: "Adaptive", confident: "Confident", semi_nar: "Semi-NAR, by blocks",
    nar: "NAR, all at once", sentence: "Sentence", earlier: "Previous sentence", later: "Next sentence",
  },
  zh: {
    pass: "第 {0} 遍", passOf: "第 {0} 遍，共 {1} 遍", before: "第一遍之前", kept: "保留 {0} / {1}",
    rejected: "被否决的草稿", behind: "结束符之后另有 {0} 个", end: "结束", chance: "概率 {0}", unknown: "未知",
    drafted: "上一遍所拟，已经验证", instead: "改写为：{0}", others: "此处最可能的词元",
    none: "记录中没有其他候选。", output: "输出", passes: "逐遍过程", nothing: "尚无内容",
    first: "回到开头", back: "后退一步", play: "播放", pause: "暂停", next: "前进一步", last: "跳到结尾",
    position: "位置", steps: "步骤", said: "{0}：{1}", saidRejected: "{0}；否决：{1}", ms: "{0} 毫秒",
    colour: "颜色：第几遍", shade: "深浅：概率", struck: "删除线：被否决的草稿",
    hint: "将指针移到词元上，或用 Tab 键和方向键选中它，可查看其他候选。", language: "English",
    dark: "深色", light: "浅色", slower: "放慢 {0} 倍",
    facts: "遍数：{0} · 词元：{1} · 每遍词元：{2} · 得分：{3}", missing: "此记录中没有这一句。",
    tagline: "同一个模型，可以逐个词元地写，也可以一次写完。看它怎样写。", text: "文本", how: "写法",
    placeholder: "源文本，切分方式与训练时相同", run: "写", stop: "停止", link: "本页链接",
    block_size: "块大小", tolerance: "容差（奈特）", confidence: "置信度", beam: "束宽（自回归与推测解码）",
    draft_width: "草稿宽度", nar_candidates: "候选数", auto: "自动", race: "自回归与所选写法的比较",
    token: "访问令牌", unlock: "使用", needsToken: "此服务器需要访问令牌。", model: "模型：{0}",
    writing: "正在写……", waiting: "等待轮到它", warming: "正在预热……", result: "遍数：{0} · {1} 毫秒 · 词元：{2}",
    same: "两者写出的文本相同。", differ: "两段文本的差异", only: "仅{0}：", nothingYet: "尚未写出内容。",
    faster: "{0}：遍数为自回归的 {1} 倍，时间为其 {2} 倍。", problem: "没有成功：{0}", noServer: "服务器没有响应",
    badTrace: "服务器没有发送各遍的内容", stopped: "已停止。", how_ar: "每个词元一遍",
    how_speculative: "先拟草稿再验证，结果与自回归相同", how_adaptive: "保留自回归认为差不多的草稿",
    how_confident: "每块只保留有把握的部分", how_semi_nar: "整块保留", how_nar: "全部只用一遍",
    ar: "自回归，逐个词元", speculative: "推测解码", adaptive: "自适应", confident: "按置信度", semi_nar: "半自回归，分块",
    nar: "非自回归，一次写完", sentence: "句子", earlier: "上一句", later: "下一句",
  },
};

let language = "en";

export function t(key, ...values) {
  return (STRINGS[language][key] ?? key).replace(/\{(\d)\}/g, (_, i) => values[i]);
}

export const number = (value, digits = 1) => value.toLocaleString(language, { maximumFractionDigits: digits });
export const percent = (p) =>
  Number.isFinite(p) ? p.toLocaleString(language, { style: "percent", maximumFractionDigits: 1 }) : t("unknown");

/** Everything with data-say, data-say-label or data-say-placeholder in the new language; others hear "language". */
export function speak(wanted) {
  language = wanted in STRINGS ? wanted : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const e of document.querySelectorAll("[data-say]")) e.textContent = t(e.dataset.say);
  for (const e of document.querySelectorAll("[data-say-label]")) {
    e.setAttribute("aria-label", (e.title = t(e.dataset.sayLabel)));
  }
  for (const e of document.querySelectorAll("[data-say-placeholder]")) e.placeholder = t(e.dataset.sayPlaceholder);
  document.dispatchEvent(new Event("language"));
}

export const spoken = () => language;

export function make(name, properties = {}, ...children) {
  const { data, ...others } = properties;
  const element = Object.assign(document.createElement(name), others);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}
