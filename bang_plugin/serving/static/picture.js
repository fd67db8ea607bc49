// Draws a decoding from the records that --trace-file writes: one output that grows pass by pass.
// Colour is the pass, shade the probability; what was rejected is struck through.

import { make, percent, t } from "./words.js";

const ENDS = new Set(["</s>", "[SEP]"]);
const isRightToLeft = (text) => /^[^\p{L}]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u.test(text);

/** How pieces are joined: sentencepieces ("▁"), word pieces ("##"), or whole words. */
function piece(token, style) {
  if (style === "▁") return token.startsWith("▁") ? [token.slice(1) || "␣", false] : [token, true];
  return token.startsWith("##") && token.length > 2 ? [token.slice(2), true] : [token, false];
}

const styleOf = (tokens) => (tokens.some((token) => token.startsWith("▁")) ? "▁" : "##");

export function textOf(tokens) {
  const style = styleOf(tokens);
  const words = tokens.filter((token) => !ENDS.has(token)).map((token) => piece(token, style));
  return words.map(([word, glued], i) => (glued || !i ? "" : " ") + word).join("").trim();
}

/** What a pass kept and what it rejected. Where a record says what had been drafted, that is what it rejected. */
export function outcome(step) {
  const kept = step.tokens.slice(0, step.kept);
  const ended = ENDS.has(kept.at(-1));
  const proposals = step.draft ?? step.tokens;
  let right = step.draft ? 0 : step.kept;
  while (step.draft && right < proposals.length && right < step.kept && proposals[right] === step.tokens[right]) right++;
  const rejected = right >= step.kept && ended ? [] : proposals.slice(right);
  return { kept, rejected, verified: step.draft ? right : 0, from: right, behind: ended ? step.tokens.length - step.kept : 0 };
}

let tip, pointed;

function hideTip() {
  tip?.remove();
  pointed?.removeAttribute("aria-describedby");
  tip = pointed = null;
}

function showTip(chip, lines) {
  hideTip();
  tip = make("div", { className: "tip", role: "tooltip", id: "tip" }, ...lines());
  document.querySelector("main").append(tip);
  const box = chip.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + scrollX), scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = box.bottom + tip.offsetHeight + 8 <= innerHeight || box.top < tip.offsetHeight + 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${scrollY + (below ? box.bottom + 2 : box.top - tip.offsetHeight - 2)}px`;
  tip.addEventListener("mouseleave", hideTip);
  chip.setAttribute("aria-describedby", "tip");
  pointed = chip;
}

document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());

function bar(token, p) {
  const row = make("li", {}, make("bdi", { textContent: token }), make("meter", { value: p, max: 1 }), percent(p));
  row.firstChild.className = "name";
  return row;
}

/** What a screen reader says of a token. */
function label({ button, token, p, step, rejected }) {
  if (ENDS.has(token)) button.firstChild.textContent = t("end");
  const facts = [button.textContent, t("pass", step.pass), Number.isFinite(p) && t("chance", percent(p)), rejected && t("rejected")];
  button.setAttribute("aria-label", facts.filter(Boolean).join(", "));
}

/** One output. add() a record's passes in their order, show() what there was after so many of them. */
export class Picture {
  constructor(host) {
    this.flow = make("ol", { className: "flow" });
    this.rows = make("ol", { className: "passes" });
    this.status = make("p", { className: "hidden", role: "status" });
    const title = make("summary", { data: { say: "passes" }, textContent: t("passes") });
    this.element = make("div", { className: "picture" }, this.flow, make("details", { open: true }, title, this.rows), this.status);
    host.append(this.element);
    this.flow.addEventListener("keydown", (event) => this.#move(event));
    document.addEventListener("language", () => this.#relabel());
    this.clear();
  }

  clear() {
    hideTip();
    Object.assign(this, { steps: [], chips: [], shown: 0 });
    this.flow.replaceChildren();
    this.rows.replaceChildren();
    this.#relabel();
  }

  get tokens() {
    return this.steps.flatMap((step) => step.tokens.slice(0, step.kept));
  }

  get text() {
    return textOf(this.tokens);
  }

  add(step) {
    this.steps.push(step);
    const at = this.steps.length;
    const { kept, rejected, verified, from } = outcome(step);
    const style = styleOf([...this.tokens, ...rejected]);
    const parts = [];
    kept.forEach((token, i) => parts.push({ token, i, p: step.probabilities[i], drafted: i < verified }));
    rejected.forEach((token, i) => parts.push({ token, i: from + i, p: step.draft ? NaN : step.probabilities[from + i], rejected: true }));
    const items = parts.map((part) => this.#chip({ ...part, step, at, style }));
    this.flow.append(...items.map((item) => item.element));
    this.chips.push(...items);
    if (at === 1) this.flow.dir = isRightToLeft(this.text) ? "rtl" : "ltr";
    items.forEach(label);
    this.rows.append(make("li", { hidden: true }, ...this.#row(step, at)));
  }

  show(count, aloud = false) {
    this.shown = count = Math.max(0, Math.min(count, this.steps.length));
    if (pointed && this.flow.contains(pointed)) hideTip();
    for (const { element, at, rejected } of this.chips) {
      element.hidden = at > count || (rejected && at < count);
      element.classList.toggle("new", at === count);
    }
    [...this.rows.children].forEach((row, i) => {
      row.hidden = i >= count;
      row.toggleAttribute("aria-current", i === count - 1);
    });
    const buttons = this.#visible();
    if (!buttons.some((button) => button.tabIndex === 0) && buttons.length) buttons[0].tabIndex = 0;
    this.flow.setAttribute("aria-label", `${t("output")}, ${this.#where(count)}`);
    this.flow.dataset.empty = buttons.length ? "" : t("nothing");
    if (aloud) this.status.textContent = this.#said(count);
  }

  #where(count) {
    return count ? t("pass", this.steps[count - 1].pass) : t("before");
  }

  #said(count) {
    if (!count) return t("before");
    const { kept, rejected } = outcome(this.steps[count - 1]);
    const line = t("said", this.#where(count), textOf(kept) || t("end"));
    return rejected.length ? t("saidRejected", line, textOf(rejected) || t("end")) : line;
  }

  #chip(part) {
    const { token, p, rejected, at, step, style } = part;
    const [word, glued] = ENDS.has(token) ? [t("end"), false] : piece(token, style);
    const button = make("button", { type: "button", className: "chip", tabIndex: -1 }, make("bdi", { textContent: word }));
    button.style.setProperty("--pass", (step.pass - 1) % 8);
    button.style.setProperty("--p", Number.isFinite(p) ? p : 0);
    button.dataset.pass = step.pass;
    button.classList.toggle("end", ENDS.has(token));
    const element = make("li", { hidden: true, className: (rejected ? "rejected" : "") + (glued ? " glued" : "") }, button);
    const lines = () => this.#lines(part);
    for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => showTip(button, lines));
    button.addEventListener("mouseleave", (event) => tip?.contains(event.relatedTarget) || hideTip());
    button.addEventListener("blur", hideTip);
    return { ...part, element, button, at };
  }

  /** What the pointer or the focus shows of a token. */
  #lines({ token, i, p, step, rejected, drafted }) {
    const facts = [t("pass", step.pass)];
    if (Number.isFinite(p)) facts.push(t("chance", percent(p)));
    if (rejected) facts.push(t("rejected"));
    if (drafted) facts.push(t("drafted"));
    if (rejected && i < step.kept) facts.push(t("instead", step.tokens[i]));
    const name = make("strong", {}, make("bdi", { textContent: token }));
    const lines = [make("p", {}, name, ` · ${facts.join(" · ")}`)];
    if (rejected && step.draft) return lines;
    const others = step.alternatives?.[i] ?? [];
    if (!others.length) return [...lines, make("p", { className: "note", textContent: t("none") })];
    return [...lines, make("p", { className: "note", textContent: t("others") }),
      make("ul", {}, bar(token, p), ...others.map(([other, chance]) => bar(other, chance)))];
  }

  /** A row of the list of passes: the same tokens, small, with what was rejected crossed out for good. */
  #row(step, at) {
    const { kept, behind } = outcome(step);
    const total = step.draft ? step.draft.length + 1 : step.tokens.length - behind;
    const number = make("span", { className: "number", textContent: t("pass", step.pass) });
    number.style.setProperty("--pass", (step.pass - 1) % 8);
    const words = make("span", { className: "words", dir: this.flow.dir });
    for (const chip of this.chips.filter((one) => one.at === at)) {
      const word = make(chip.rejected ? "del" : "span", { className: "small chip" }, make("bdi", { textContent: chip.button.textContent }));
      if (chip.rejected) word.prepend(make("span", { className: "hidden", textContent: `${t("rejected")} ` }));
      word.style.cssText = chip.button.style.cssText;
      words.append(word, " ");
    }
    if (behind > 3) words.append(make("span", { className: "note", textContent: t("behind", behind) }));
    return [number, words, make("span", { className: "note", textContent: t("kept", kept.length, Math.max(total, kept.length)) })];
  }

  #relabel() {
    this.chips.forEach(label);
    [...this.rows.children].forEach((row, i) => row.replaceChildren(...this.#row(this.steps[i], i + 1)));
    this.show(this.shown);
    this.status.textContent = "";
  }

  #visible() {
    return this.chips.filter(({ element }) => !element.hidden).map(({ button }) => button);
  }

  #move(event) {
    const buttons = this.#visible();
    const here = buttons.indexOf(document.activeElement);
    const forward = this.flow.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backward = this.flow.dir === "rtl" ? "ArrowRight" : "ArrowLeft";
    const there = { [forward]: here + 1, [backward]: here - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (here < 0 || there === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const goal = buttons[Math.max(0, Math.min(there, buttons.length - 1))];
    for (const { button } of this.chips) button.tabIndex = -1;
    goal.tabIndex = 0;
    goal.focus();
  }
}

/** What colours, shades and lines mean. */
export function legend(host) {
  const swatches = (values) => {
    const chips = values.map(([pass, p]) => {
      const chip = make("span", { className: "chip" });
      chip.style.setProperty("--pass", pass);
      chip.style.setProperty("--p", p);
      return chip;
    });
    const box = make("span", { className: "swatches" }, ...chips);
    box.setAttribute("aria-hidden", "true");
    return box;
  };
  const entry = (sign, key) => make("span", {}, sign, make("span", { data: { say: key } }));
  const crossed = make("del", { textContent: "abc" });
  crossed.setAttribute("aria-hidden", "true");
  host.append(
    entry(swatches([[0, 0.8], [1, 0.8], [2, 0.8], [3, 0.8]]), "colour"),
    entry(swatches([[0, 0.1], [0, 0.4], [0, 0.7], [0, 1]]), "shade"),
    entry(crossed, "struck"),
    make("span", { data: { say: "hint" } }),
  );
}
