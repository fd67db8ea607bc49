// The page that bang trace writes: the sentences of one trace, or of several side by side.

import { appearance } from "./appearance.js";
import { legend, Picture, textOf } from "./picture.js";
import { Player } from "./player.js";
import { make, number, speak, spoken, t } from "./words.js";

const { title, traces } = JSON.parse(document.getElementById("records").textContent);
const find = (name) => document.getElementById(name);
const ids = [...new Set(traces.flatMap(({ records }) => records.map(({ id }) => id)))];
// the decoding's name says enough where no other pane has it
const kinds = traces.map(({ records }) => records[0]?.decoding);
const heading = (i) => (kinds[i] && kinds.indexOf(kinds[i]) === kinds.lastIndexOf(kinds[i]) ? t(kinds[i]) : traces[i].name);
const panes = traces.map((_, i) => {
  const [title, facts, host] = [make("h2", { dir: "auto" }), make("p", { className: "facts" }), make("div")];
  find("panes").append(make("section", { className: "pane" }, title, facts, host));
  return { title, facts, picture: new Picture(host) };
});
const player = new Player(find("controls"));
const choice = find("sentence");

function open(id) {
  player.pause();
  const found = traces.map(({ records }) => records.find((one) => one.id === id));
  panes.forEach(({ picture }, i) => {
    picture.clear();
    for (const step of found[i]?.trace ?? []) picture.add(step);
  });
  find("source").textContent = textOf(found.find((record) => record?.source)?.source ?? []);
  player.load(panes.map(({ picture }) => picture));
  choice.value = id;
  describe();
  find("earlier").disabled = id === ids[0];
  find("later").disabled = id === ids.at(-1);
  history.replaceState(null, "", `#${id}`);
}

function describe() {
  panes.forEach(({ title, facts, picture }, i) => {
    const record = traces[i].records.find((one) => one.id === Number(choice.value));
    const [count, score] = [picture.tokens.length, record?.score ?? null];
    title.textContent = heading(i);
    facts.textContent = record
      ? t("facts", record.passes, count, number(count / record.passes), score === null ? "–" : number(score, 2))
      : t("missing");
  });
}

const step = (by) => open(ids[Math.max(0, Math.min(ids.indexOf(Number(choice.value)) + by, ids.length - 1))]);

find("title").textContent = document.title = title;
const previews = new Map();
for (const { records } of traces) {
  for (const { id, trace, source } of records) {
    if (!previews.has(id)) previews.set(id, textOf(source ?? trace.flatMap((step) => step.tokens.slice(0, step.kept))).slice(0, 60));
  }
}
for (const id of ids) choice.append(make("option", { value: id, textContent: `${id} · ${previews.get(id)}` }));
choice.addEventListener("change", () => open(Number(choice.value)));
find("earlier").addEventListener("click", () => step(-1));
find("later").addEventListener("click", () => step(1));
document.addEventListener("language", describe);
legend(find("legend"));
appearance(find("appearance"));
const wanted = Number(location.hash.slice(1));
open(location.hash && ids.includes(wanted) ? wanted : ids[0]);
speak(spoken());
