// Language and light or dark: as the browser wishes, until a reader chooses.

import { make, speak, spoken, t } from "./words.js";

function remembered(name, value) {
  try {
    if (value) localStorage.setItem(`bang ${name}`, value);
    return localStorage.getItem(`bang ${name}`);
  } catch {
    return null; // a browser that keeps nothing for this page
  }
}

export function appearance(host, asked = null) {
  const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = make("button", { type: "button", className: "plain" });
  const tongue = make("button", { type: "button", className: "plain", data: { say: "language" } });
  const label = () => (theme.textContent = t(isDark() ? "light" : "dark"));
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = remembered("theme", isDark() ? "light" : "dark") ?? (isDark() ? "light" : "dark");
    label();
  });
  tongue.addEventListener("click", () => {
    const other = spoken() === "en" ? "zh" : "en";
    remembered("language", other);
    speak(other);
  });
  document.addEventListener("language", () => {
    label();
    tongue.lang = spoken() === "en" ? "zh-Hans" : "en";
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  const chosen = remembered("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  host.append(theme, tongue);
  speak(asked ?? remembered("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
}
