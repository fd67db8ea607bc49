// Starts reveal.js, switches the language (button, or the key L) and makes tables fit their frames.
const root = document.documentElement;

function fit() {
  for (const box of document.querySelectorAll(".fit.table")) {
    const frame = box.parentElement;
    if (!frame.clientWidth) continue; // of a slide that is not shown
    const room = frame.getBoundingClientRect();
    for (let scale = 100; scale >= 40; scale -= 2) { // lines break elsewhere at every scale
      box.style.zoom = scale / 100;
      const taken = box.getBoundingClientRect();
      if (taken.width <= room.width && taken.height <= room.height) break;
    }
  }
}

function speak(language) {
  root.dataset.language = language;
  root.lang = language === "zh" ? "zh-Hans" : "en";
  document.getElementById("language").textContent = language === "zh" ? "English" : "中文";
  for (const notes of document.querySelectorAll("aside.notes")) notes.textContent = notes.dataset[language];
  fit();
}

const toggle = () => speak(root.dataset.language === "zh" ? "en" : "zh");
document.getElementById("language").addEventListener("click", toggle);
speak(new URLSearchParams(location.search).get("lang") === "zh" ? "zh" : "en");
Reveal.initialize({
  width: 1280, height: 720, margin: 0.02, center: false, hash: true, transition: "none", slideNumber: "c/t",
  plugins: [RevealNotes], keyboard: { 76: toggle },
}).then(fit);
Reveal.on("slidechanged", fit);
