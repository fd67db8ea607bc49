"""What people look at: the page, and the OpenAPI description to read; no file of another host is asked for."""

from html import escape
from pathlib import Path
from typing import Any, Dict

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"


def add(app: FastAPI) -> None:
    """The page with what belongs to it, if they are there, and ``/docs``."""
    app.add_api_route("/docs", lambda: HTMLResponse(described(app.openapi())), methods=["GET"], include_in_schema=False)
    index = STATIC / "index.html"
    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC))

    async def page() -> Response:
        if index.is_file():
            return HTMLResponse(index.read_text(encoding="utf-8"))
        return HTMLResponse('<p>A BANG model is served here: <a href="/docs">how to ask</a>.</p>')

    app.add_api_route("/", page, methods=["GET"], include_in_schema=False)


def described(schema: Dict[str, Any]) -> str:
    """The OpenAPI description to read, without scripts."""
    parts = ["<!doctype html><meta charset=utf-8><title>bang serve</title><h1>bang serve</h1>"]
    parts.append('<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>')
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation.get('description', ''))}</p>")
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            name = body.get("$ref", "").rpartition("/")[2]
            fields = schema.get("components", {}).get("schemas", {}).get(name, {}).get("properties", {})
            rows = (
                f"<tr><td><code>{escape(field)}</code><td>{escape(str(entry.get('default', '')))}"
                f"<td>{escape(entry.get('description', ''))}"
                for field, entry in fields.items()
            )
            if fields:
                parts.append("<table><tr><th>field<th>default<th>meaning" + "".join(rows) + "</table>")
    return "".join(parts)
