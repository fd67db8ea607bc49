"""A small server that speaks as ``bang serve`` does, and writes what was recorded."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bang_plugin.serving.trace_page import STATIC

KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
BOUNDS = {
    "block_size": (4, 1, 64),
    "tolerance": (1.0, 0, 64),
    "confidence": (0.9, 0, 64),
    "beam": (5, 1, 64),
    "draft_width": (None, 1, 64),
    "nar_candidates": (1, 1, 64),
}
DECODINGS = {
    "ar": ["beam"],
    "nar": ["nar_candidates"],
    "semi_nar": ["block_size"],
    "confident": ["block_size", "confidence"],
    "adaptive": ["block_size", "tolerance"],
    "speculative": ["beam", "block_size", "draft_width"],
}


class StandIn:
    """Answers on a free port of this machine until it is closed.

    ``records`` has a trace for each decoding, ``requests`` what was asked; a decoding without a record fails after its
    answer has begun, and with a ``token`` nothing is answered without it.
    """

    def __init__(self, records: dict, token: str | None = None, seconds: float = 0.002):
        self.records, self.token, self.seconds, self.requests = records, token, seconds, []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                if self.path == "/v1/models":
                    if stand_in.let_in(self):
                        self.reply(200, "application/json", json.dumps(stand_in.models()).encode())
                    return
                path = Path("index.html" if self.path == "/" else self.path.removeprefix("/static/"))
                file = STATIC / path.name
                self.reply(200, KINDS[path.suffix], file.read_bytes())

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if stand_in.let_in(self):
                    stand_in.requests.append(request)
                    stand_in.complete(self, request)

            def reply(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def let_in(self, handler) -> bool:
        if self.token and handler.headers["Authorization"] != f"Bearer {self.token}":
            handler.reply(
                401, "application/json", json.dumps({"error": {"message": "a bearer token is needed"}}).encode()
            )
            return False
        return True

    def models(self) -> dict:
        options = {name: {"default": d, "minimum": a, "maximum": b} for name, (d, a, b) in BOUNDS.items()}
        decodings = [{"name": name, "help": f"{name} help", "options": own} for name, own in DECODINGS.items()]
        return {"object": "list", "data": [{"id": "toy", "decodings": decodings, "options": options}]}

    def complete(self, handler, request):
        if request["prompt"] == "too long":
            message = "prompt: 99 tokens, with the end symbol, are more than 20"
            handler.reply(422, "application/json", json.dumps({"error": {"message": message}}).encode())
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()

        def event(body):
            handler.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
            handler.wfile.flush()

        record = self.records.get(request["decoding"])
        try:
            if record is None:
                return event({"error": {"message": "the batch failed", "code": "batch_failed"}})
            for step in record["trace"]:
                time.sleep(self.seconds)
                text = " ".join(step["tokens"][: step["kept"]]).replace("</s>", "").strip()
                choice = {"text": text, "index": 0, "finish_reason": None, "trace": step}
                event({"object": "text_completion", "choices": [choice]})
            kept = [token for step in record["trace"] for token in step["tokens"][: step["kept"]]]
            end = {
                "text": "",
                "index": 0,
                "finish_reason": "stop",
                "score": record["score"],
                "passes": record["passes"],
            }
            event({"choices": [{**end, "output": " ".join(kept).removesuffix("</s>").strip()}]})
            handler.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # the page has left
