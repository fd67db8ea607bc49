// The page at /: a text, a decoding and its options; AR and the decoding write one after the other, then race.

import { appearance } from "./appearance.js";
import { complete, difference, model, Refusal } from "./client.js";
import { legend, Picture } from "./picture.js";
import { Player } from "./player.js";
import { make, number, speak, spoken, t } from "./words.js";

const find = (name) => document.getElementById(name);
// what the sliders offer; the server says which options a decoding has and what they may be
const SLIDERS = {
  block_size: { min: 1, max: 12, step: 1, value: 4 },
  tolerance: { min: 0, max: 5, step: 0.1, value: 1 },
  confidence: { min: 0, max: 1, step: 0.05, value: 0.7 },
  beam: { min: 1, max: 8, step: 1, value: 1 },
  draft_width: { min: 0, max: 16, step: 1, value: 0 }, // 0: as the search finds best
  nar_candidates: { min: 1, max: 16, step: 1, value: 1 },
};
const KNOWN = ["speculative", "adaptive", "confident", "semi_nar", "nar"];

const state = { token: "", served: null, running: null, warm: false, results: null, problem: null };
const inputs = {};
const panes = ["ar", "chosen"].map(() => {
  const [title, facts, text, host] = [make("h2"), make("p", { className: "facts" }), make("p", { className: "text", dir: "auto" }), make("div")];
  const picture = new Picture(host);
  picture.flow.after(text);
  find("panes").append(make("section", { className: "pane" }, title, facts, host));
  return { title, facts, text, picture, result: null, doing: null };
});
const player = new Player(find("controls"));
// nobody reads the end of a race that is still on
player.element.addEventListener("moved", () => {
  for (const { text, picture } of panes) text.hidden = picture.shown < picture.steps.length;
});

const optionsOf = (name) => state.served?.decodings?.find((one) => one.name === name)?.options ?? [];
const chosen = () => find("form").elements.decoding?.value;
const named = (name) => (KNOWN.includes(name) || name === "ar" ? t(name) : name);

/** The fields of a request, for AR or for the chosen decoding: only options that it understands. */
function request(decoding) {
  const fields = { prompt: find("text").value.trim(), decoding };
  for (const name of Object.keys(SLIDERS)) {
    const value = Number(inputs[name].value);
    if (!optionsOf(decoding).includes(name) || (name === "draft_width" && !drafts(decoding))) continue;
    fields[name] = value;
  }
  return fields;
}

const drafts = (decoding) => decoding === "speculative" && inputs.draft_width.value > 0 && inputs.beam.value > 1;

function slider(name) {
  const bounds = state.served?.options?.[name] ?? {};
  const { min, max, step, value } = SLIDERS[name];
  const least = name === "draft_width" ? 0 : Math.max(min, bounds.minimum ?? min);
  const input = make("input", { type: "range", id: name, min: least, max: Math.min(max, bounds.maximum ?? max), step, value });
  const shown = make("output", { className: "value" });
  shown.htmlFor = name;
  const row = make("label", { className: "field" }, make("span", { data: { say: name } }), input, shown);
  input.addEventListener("input", sayForm);
  inputs[name] = input;
  return Object.assign(row, { shown });
}

/** Every control in the language of the page, and only those that have an effect. */
function sayForm() {
  for (const row of find("sliders").children) {
    const input = row.querySelector("input");
    const value = Number(input.value);
    row.shown.textContent = input.id === "draft_width" && !value ? t("auto") : number(value, 2);
    input.setAttribute("aria-valuetext", row.shown.textContent);
    row.hidden = !optionsOf(chosen()).includes(input.id) && !(input.id === "beam" && optionsOf("ar").includes("beam"));
    if (input.id === "draft_width") row.hidden ||= inputs.beam.value < 2;
  }
  for (const label of find("decodings").querySelectorAll("label")) {
    const name = label.querySelector("input").value;
    label.querySelector("span").textContent = named(name);
    label.title = KNOWN.includes(name) ? t(`how_${name}`) : (state.served.decodings.find((one) => one.name === name)?.help ?? "");
  }
  find("link").href = permalink();
  find("model").textContent = state.served ? t("model", state.served.id) : "";
  find("race").setAttribute("aria-label", t("race"));
}

function permalink() {
  const { prompt, ...fields } = request(chosen());
  const beam = { beam: inputs.beam?.value ?? 1 };
  return `#${new URLSearchParams({ text: prompt, ...beam, ...fields, lang: spoken() })}`;
}

function fill(anchor) {
  const fields = new URLSearchParams(anchor.slice(1));
  if (fields.has("text")) find("text").value = fields.get("text");
  const radio = [...find("form").elements.decoding].find((one) => one.value === fields.get("decoding"));
  if (radio) radio.checked = true;
  for (const [name, input] of Object.entries(inputs)) {
    if (fields.has(name) && Number.isFinite(Number(fields.get(name)))) input.value = fields.get(name);
  }
  return fields;
}

/** What stands over and under the pictures, in the language of the page. */
function sayResults() {
  const names = ["ar", state.results?.decoding ?? chosen()];
  panes.forEach(({ title, facts, text, result, picture, doing }, i) => {
    title.textContent = named(names[i] ?? "");
    text.textContent = result?.text ?? "";
    const count = picture.tokens.length;
    facts.textContent = result ? t("result", result.passes, number(result.ms), count) : doing ? t(doing) : t("nothingYet");
  });
  const [left, right] = panes.map((pane) => pane.result);
  find("difference").hidden = !(left && right);
  find("summary").textContent = "";
  find("problem").textContent = state.problem ? t("problem", t(state.problem)) : "";
  if (!left || !right) return;
  find("summary").textContent = t("faster", named(names[1]), number(right.passes / left.passes, 2), number(right.ms / left.ms, 2));
  const words = difference(left.text, right.text);
  if (words.every(([, side]) => side === "both")) return find("words").replaceChildren(t("same"));
  const marks = { left: "del", right: "ins", both: "span" };
  const elements = words.flatMap(([word, side], i) => {
    const mark = make(marks[side], {}, make("bdi", { textContent: word }));
    const begins = side !== "both" && words[i - 1]?.[1] !== side;
    if (begins) mark.prepend(make("span", { className: "hidden", textContent: t("only", named(names[side === "left" ? 0 : 1])) }));
    return [mark, " "];
  });
  find("words").replaceChildren(...elements);
}

async function write(pane, fields, signal) {
  const [times, fresh] = [[], []];
  pane.doing = "writing";
  sayResults();
  // what is drawn delays what comes after it: a short answer is drawn when it is whole
  const show = () => {
    for (const record of fresh.splice(0)) pane.picture.add(record);
    pane.picture.show(pane.picture.steps.length);
  };
  const told = (record, ms) => {
    times.push(ms);
    if (fresh.push(record) === 1) setTimeout(() => fresh.length && !signal.aborted && show(), 250);
  };
  await new Promise((done) => setTimeout(done, 100));
  const result = await complete(fields, { token: state.token, signal, told });
  if (!times.length) throw new Refusal(0, "badTrace");
  show();
  pane.result = result;
  return times;
}

async function run() {
  if (!state.served) return begin();
  state.running?.abort();
  const mine = (state.running = new AbortController());
  const { signal } = mine;
  const requests = ["ar", chosen()].map(request);
  history.replaceState(null, "", permalink());
  player.load([]);
  for (const pane of panes) {
    pane.picture.clear();
    Object.assign(pane, { result: null, doing: state.warm ? "waiting" : "warming" });
  }
  Object.assign(state, { results: { decoding: chosen() }, problem: null });
  find("stop").hidden = false;
  sayResults();
  try {
    // one after the other, so that neither slows the other down; before the first, the server gets going
    if (!state.warm) for (const fields of requests) await complete(fields, { token: state.token, signal });
    state.warm = true;
    const times = [];
    for (const [i, pane] of panes.entries()) {
      pane.doing = "waiting";
      times.push(await write(pane, requests[i], signal));
      sayResults();
    }
    player.load(panes.map((pane) => pane.picture), times);
    sayResults();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      player.go(0);
      player.play();
    }
  } catch (error) {
    if (state.running === mine) fail(error);
  } finally {
    if (state.running === mine) find("stop").hidden = true;
  }
}

function fail(error) {
  for (const pane of panes) pane.doing = null;
  if (error.name === "AbortError") state.problem = null;
  else if (!(error instanceof Refusal)) throw error;
  else state.problem = error.status === 0 && error.message !== "badTrace" ? "noServer" : error.message;
  if (error.status === 401) find("door").hidden = false;
  sayResults();
  if (error.name === "AbortError") find("summary").textContent = t("stopped");
}

async function begin() {
  try {
    state.served = await model(state.token);
  } catch (error) {
    fail(error);
    return;
  }
  find("door").hidden = true;
  state.problem = null;
  const names = state.served.decodings.map((one) => one.name);
  const ordered = [...KNOWN.filter((name) => names.includes(name)), ...names.filter((name) => name !== "ar" && !KNOWN.includes(name))];
  const radios = ordered.map((name, i) =>
    make("label", {}, make("input", { type: "radio", name: "decoding", value: name, checked: !i, onchange: sayForm }), make("span")),
  );
  find("decodings").replaceChildren(find("decodings").firstElementChild, ...radios);
  find("sliders").replaceChildren(...Object.keys(SLIDERS).map(slider));
  const asked = fill(location.hash);
  speak(asked.get("lang") ?? spoken());
  if (asked.get("text")) run();
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    find("form").requestSubmit();
  }
});
find("text").addEventListener("input", sayForm);
find("stop").addEventListener("click", () => state.running?.abort());
find("door").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = find("token").value;
  begin();
});
addEventListener("hashchange", () => {
  if (!state.served) return;
  speak(fill(location.hash).get("lang") ?? spoken());
  if (find("text").value) run();
});
document.addEventListener("language", () => {
  if (state.served) sayForm();
  sayResults();
});
legend(find("legend"));
appearance(find("appearance"), new URLSearchParams(location.hash.slice(1)).get("lang"));
begin();
