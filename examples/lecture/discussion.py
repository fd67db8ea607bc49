"""Six questions that a class would ask, each answered by a command on the demo's model and by what it wrote."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bang_plugin.errors import BangError

from . import records
from .texts import spoken_of

WRITE = (
    "fairseq-interactive DEMO/data --user-dir bang_plugin --task bang --path DEMO/checkpoint_last.pt --cpu "
    "--print-trace --decoding "
)
WORD = 'echo "c e r t i f i e d \' s" | '
SCORE = (
    "fairseq-generate DEMO/data --user-dir bang_plugin --task bang --path DEMO/checkpoint_last.pt --cpu "
    "--max-tokens 6000 --score-reference --decoding "
)
MEAN = 'awk -v how="$how" \'/^H-/ {total += $2; n++} END {printf "%s: %.3f bits per token\\n", how, -total / n}\''


@dataclass(frozen=True)
class Question:
    """A question, whose text is ``discussion`` in texts_*.toml.

    Attributes:
        command: answers it; DEMO is the demo's folder.
        keep: lines of its output that are shown.
    """

    command: str
    keep: str = r"(R|H)-\d+\t.*"  # the trace and the output


QUESTIONS = (
    Question(WORD + WRITE + "ar --beam 1"),
    Question(WORD + WRITE + "nar"),
    Question(WORD + WRITE + "speculative --beam 1 --block-size 4"),
    Question(WORD + WRITE + "adaptive --block-size 4 --tolerance 3"),
    Question(WORD + WRITE + "nar --nar-candidates 8"),
    Question(
        "for how in ar 'semi_nar --block-size 4' nar; do " + SCORE + "$how | " + MEAN + "; done", r".* bits per token"
    ),
)


def ask(demo: Path) -> list[dict]:
    """Run every command; of each the output's lines that are shown.

    Raises:
        BangError: if one fails or writes nothing to show.
    """
    found = []
    for question in QUESTIONS:
        command = question.command.replace("DEMO", str(demo))
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=records.ROOT)
        lines = [line for line in done.stdout.splitlines() if re.match(question.keep, line)]
        if done.returncode or not lines:
            said = (done.stderr.strip() or "nothing to show").splitlines()[-1]
            raise BangError(f"{command}: {said}")
        found.append({"command": command, "output": "\n".join(line[:140] for line in lines)})
    return found


def answers() -> list[dict]:
    """The recorded commands with what they wrote."""
    return records.read("discussion")["answers"]


def markdown() -> str:
    """The page ``discussion.md``."""
    parts = ["# Discussion 讨论\n"]
    for number, answer in enumerate(answers(), start=1):
        told = spoken_of("discussion", number)
        command, output = (f"```\n{answer[key]}\n```\n" for key in ("command", "output"))
        parts.append(f"## {number}. {' '.join(one['ask'] for one in told)}\n\n{command}\n{output}")
        parts += [f"{one['read']}\n" for one in told]
    return "\n".join(parts)
