"""Answer over HTTP with a trained model, as OpenAI's clients ask: /v1/completions, /v1/models, /v1/score, /metrics.

    bang serve model                                    a folder with checkpoint and dictionaries
    bang serve model --data data --port 8080
    bang serve model --quantize int8 --host 0.0.0.0 --token-file token

    curl http://127.0.0.1:8000/v1/completions --json '{"prompt": "a source sentence", "decoding": "nar"}'

SIGTERM ends it when all that it has taken is answered. docs/serving.md says the rest.
"""

import logging
import math
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Dict

from ..errors import BangError

TOKEN = "BANG_SERVE_TOKEN"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folder", metavar="FOLDER", help="of the checkpoint, as for from_pretrained")
    parser.add_argument("--checkpoint-file", metavar="NAME", help="default: model.pt, checkpoint_best.pt or _last.pt")
    parser.add_argument("--data", metavar="FOLDER", help="with the dictionaries, if they are not beside the checkpoint")
    parser.add_argument("--name", help="of the model; default: the folder's name")
    parser.add_argument("--quantize", choices=["none", "bf16", "int8"], default="none", help="on a CPU; default: none")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--threads", type=int, metavar="N", help="of the processor; default: torch's choice")
    parser.add_argument("--truncate-source", action="store_true", help="cut prompts that are too long")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any that is free")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"a bearer token that requests need; or {TOKEN} in the environment",
    )
    parser.add_argument(
        "--max-batch-tokens", type=int, default=4096, metavar="N", help="of sources x beams; default: 4096"
    )
    parser.add_argument(
        "--max-wait", type=float, default=5.0, metavar="MS", help="for company after a batch that had some; default: 5"
    )
    parser.add_argument("--queue", type=int, default=256, metavar="N", help="texts that may wait; default: 256")
    parser.add_argument("--time-limit", type=float, default=30.0, metavar="S", help="of a request; default: 30")
    parser.add_argument("--max-body", type=int, default=1_000_000, metavar="BYTES", help="default: 1000000")


def run(args: Namespace) -> None:
    """Load, listen and answer until SIGTERM.

    Raises:
        BangError: for a folder, token or address that cannot be used, or a package that is missing.
    """
    try:
        from ..serving import app, server
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("fastapi", "uvicorn", "starlette", "pydantic", "prometheus_client"):
            raise
        raise BangError(f'bang serve needs {error.name}: pip install "bang_plugin[serve]"') from error
    settings = _settings(args, app)
    listener, address = server.listen(args.host, args.port)
    application = app.build(_load(args), settings)
    print(f"{settings.name}: {address} (how to ask: {address}/docs)", flush=True)
    server.serve(application, listener, args.time_limit)


def _settings(args: Namespace, app: Any) -> Any:
    for name, least in (("max_batch_tokens", 1), ("queue", 1), ("max_body", 1), ("max_wait", 0), ("time_limit", 0.001)):
        value, shown = getattr(args, name), f"--{name.replace('_', '-')}"
        if not value >= least:
            raise BangError(f"{shown} must be at least {least}, not {value}")
        if value == math.inf:
            raise BangError(f"{shown} must have an end, {value} has none")
    if not 0 <= args.port < 2**16:
        raise BangError(f"--port must be from 0 to {2**16 - 1}, not {args.port}")
    return app.Settings(
        name=args.name or Path(args.folder).resolve().name,
        token=_token(args.token_file),
        places=args.queue,
        max_batch_tokens=args.max_batch_tokens,
        max_wait=args.max_wait,
        time_limit=args.time_limit,
        max_body=args.max_body,
    )


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BangError(f"--token-file {file}: cannot be read ({error})") from error
    if not token:
        raise BangError(f"--token-file {file}: it is empty")
    return token


def _load(args: Namespace) -> Any:
    import torch

    from ..guards import log_level
    from ..hub import from_pretrained

    log_level.install()
    logging.getLogger().setLevel(logging.WARNING)  # fairseq tells of every batch that it makes
    if args.threads is not None:
        if args.threads < 1:
            raise BangError(f"--threads must be at least 1, not {args.threads}")
        torch.set_num_threads(args.threads)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise BangError("--device cuda: torch finds no GPU here")
    options: Dict[str, Any] = {"quantize": args.quantize, "truncate_source": args.truncate_source}
    if device == "cpu":
        options["cpu"] = True
    hub = from_pretrained(args.folder, args.checkpoint_file, args.data, **options)
    return hub.to(device)
