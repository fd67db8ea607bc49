"""Lines of arbitrary bytes: words, spaces of all kinds, what terminals obey, long words, bytes that are no UTF-8."""

import functools
import random

WORDS = [*"abcdefgh", "<pad>", "</s>", "<s>", "<unk>", "[MASK]", "<mask>", "S-0", "H-1", "ü", "漢字"]
SPACES = [*" \t\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029\u3000\xa0", "  "]
ODD = ["\0", "\x1b[31m", "\x08", "\x7f", "\ufeff", "\u200b", "\u202e", "🧑\u200d🚀", "🙂" * 9, "e\u0301", "\U0010ffff"]
NO_UTF_8 = [b"\xff", b"\xfe", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf0\x9f\x99", b"\xf5\x80\x80\x80", b"\x80\x81"]


def line(draw: random.Random) -> bytes:
    """One of them, without its line feed."""
    kind = draw.randrange(6)
    if kind == 0:
        return draw.randbytes(draw.randrange(60)).replace(b"\n", b"")
    if kind == 1:
        return "".join(draw.choices(SPACES, k=draw.randrange(5))).encode()
    separators = SPACES if kind == 2 else [" "]
    choices = [WORDS, ODD, SPACES] if kind > 3 else [WORDS]
    parts = []
    for _ in range(draw.randrange(25)):
        parts += [draw.choice(draw.choice(choices)).encode(), draw.choice(separators).encode()]
        if kind == 5 and draw.random() < 0.3:
            parts.append(draw.choice(NO_UTF_8))
        if draw.random() < 0.01:
            parts.append(draw.choice("aé漢🙂").encode() * draw.randrange(100, 3000))
    return b"".join(parts)


@functools.cache
def lines(count: int) -> tuple[bytes, ...]:
    """The same ``count`` lines every time."""
    draw = random.Random(7)
    return tuple(line(draw) for _ in range(count))
