// Steps through one picture or several, by passes or by the milliseconds after which each pass was there.

import { make, number, t } from "./words.js";

const ICONS = {
  first: "M5 4h2v16H5zM19 4v16L8 12z", back: "M17 4v16L6 12z", play: "M7 4v16l12-8z", pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  next: "M7 4v16l11-8z", last: "M17 4h2v16h-2zM5 4v16l11-8z",
};
const SECONDS = { step: 0.7, all: 8, race: 5 };

function draw(button, name) {
  button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  button.dataset.sayLabel = name;
  button.setAttribute("aria-label", (button.title = t(name)));
}

export class Player {
  constructor(host) {
    const button = (name, act) => {
      const made = make("button", { type: "button", className: "icon", onclick: act });
      draw(made, name);
      return made;
    };
    this.slider = make("input", { type: "range", min: 0, max: 0, step: 1, data: { sayLabel: "position" } });
    this.slider.setAttribute("aria-label", t("position"));
    this.slider.addEventListener("input", () => this.#jump(Number(this.slider.value)));
    this.label = make("span", { className: "where" });
    this.playing = button("play", () => (this.timer ? this.pause() : this.play()));
    this.element = make(
      "div",
      { className: "player", role: "group", data: { sayLabel: "steps" } },
      button("first", () => this.#jump(0)),
      button("back", () => this.#jump(this.at - 1)),
      this.playing,
      button("next", () => this.#jump(this.at + 1)),
      button("last", () => this.#jump(this.stops.length - 1)),
      this.slider,
      this.label,
    );
    this.element.setAttribute("aria-label", t("steps"));
    host.append(this.element);
    document.addEventListener("language", () => this.#say());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.load([]);
  }

  /** times: of each picture's passes; without them every pass takes as long. */
  load(pictures, times = null) {
    this.pause();
    this.pictures = pictures;
    this.timed = Boolean(times);
    const arrivals = times ?? pictures.map((picture) => picture.steps.map((step) => step.pass));
    const moments = [...new Set(arrivals.flat())].sort((a, b) => a - b);
    this.stops = [0, ...moments].map((time) => ({
      time,
      counts: arrivals.map((list) => list.filter((arrival) => time && arrival <= time).length),
    }));
    const end = this.stops.at(-1).time || 1;
    // milliseconds on the screen of one of a time, or of a pass
    this.scale = times ? Math.max(1, (1000 * SECONDS.race) / end) : 1000 * Math.min(SECONDS.step, SECONDS.all / end);
    this.slider.max = this.stops.length - 1;
    this.go(this.stops.length - 1);
  }

  go(at, aloud = false) {
    this.at = Math.max(0, Math.min(at, this.stops.length - 1));
    this.stops[this.at].counts.forEach((count, i) => this.pictures[i].show(count, aloud));
    this.slider.value = this.at;
    this.#say();
    this.element.dispatchEvent(new CustomEvent("moved", { detail: this.stops[this.at] }));
  }

  play() {
    if (this.at === this.stops.length - 1) this.go(0);
    draw(this.playing, "pause");
    this.#tick();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    draw(this.playing, "play");
  }

  #tick() {
    const next = this.stops[this.at + 1];
    if (!next) return this.pause();
    this.timer = setTimeout(
      () => {
        this.go(this.at + 1, this.at + 2 === this.stops.length);
        this.#tick();
      },
      (next.time - this.stops[this.at].time) * this.scale,
    );
  }

  #jump(at) {
    this.pause();
    this.go(at, true);
  }

  #say() {
    const { time } = this.stops[this.at];
    const [here, end] = [time, this.stops.at(-1).time];
    let text = this.timed ? t("ms", number(here)) : here ? t("passOf", here, end) : t("before");
    if (this.timed && this.scale > 1) text += ` · ${t("slower", number(this.scale, this.scale < 10 ? 1 : 0))}`;
    this.label.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }

  /** Arrow keys and a presenter's clicker, where nothing else has a use for them. */
  #key(event) {
    if (event.target !== document.body || event.altKey || event.ctrlKey || event.metaKey) return;
    const there = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }[event.key];
    if (event.key === " ") this.playing.click();
    else if (there) this.#jump(this.at + there);
    else return;
    event.preventDefault();
  }
}
