// Asks the server, as OpenAI's clients do, and compares what two decodings wrote.

/** What a server answers instead of what was asked for; status 0: nothing at all. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options, token) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, error.message);
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    throw new Refusal(answer.status, told?.error?.message ?? `HTTP ${answer.status}`);
  }
  return answer;
}

/** The model that is served, with its decodings and options. */
export async function model(token) {
  const { data } = await (await ask("v1/models", {}, token)).json();
  return data[0];
}

/** One answer as it is written: told(record, ms) for each pass; at last its text, passes and milliseconds. */
export async function complete(request, { token, signal, told = () => {} }) {
  const began = performance.now();
  const body = JSON.stringify({ ...request, stream: true, trace: true });
  const headers = { "Content-Type": "application/json" };
  const answer = await ask("v1/completions", { method: "POST", headers, body, signal }, token);
  const result = { text: "", passes: 0, ms: 0 };
  for await (const event of events(answer.body)) {
    if (event.error) throw new Refusal(event.error.code, event.error.message);
    const choice = event.choices?.[0];
    if (!choice) continue;
    if (choice.text || choice.trace) result.ms = performance.now() - began;
    result.text += choice.text ?? "";
    if (choice.trace) {
      result.passes = choice.trace.pass;
      told(choice.trace, result.ms);
    }
    if (choice.finish_reason) {
      result.passes = choice.passes ?? result.passes;
      result.text = choice.output ?? result.text;
    }
  }
  return result;
}

/** Server-sent events with JSON in them, up to [DONE]. */
async function* events(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += done ? "\n\n" : decoder.decode(value, { stream: true }).replaceAll("\r", "");
      const parts = rest.split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5).trim()).join("\n");
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Word by word: [word, side] with side "left", "right" or "both", along a longest common subsequence. */
export function difference(left, right) {
  const [a, b] = [left, right].map((text) => text.split(/\s+/).filter(Boolean));
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const words = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) words.push([a[i++], "both"]), j++;
    else if (j === b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) words.push([a[i++], "left"]);
    else words.push([b[j++], "right"]);
  }
  return words;
}
