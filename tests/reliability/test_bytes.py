"""Arbitrary bytes as text: one answer per line, in order, from fairseq-interactive and fairseq-generate."""

import io
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import pytest
from fairseq import file_chunker_utils
from fairseq.tokenizer import tokenize_line
from fairseq_cli import interactive
from hypothesis import given, settings
from hypothesis import strategies as st

from bang_plugin.data.dictionary import load_dictionary
from bang_plugin.guards.text_input import tolerant_buffered_read
from tests.command_line import PLUGIN, fairseq
from tests.test_commands import MODES

from .arbitrary import lines

SHORT = ["--max-len-b", 12, "--truncate-source", "--cpu"]
QUICK, FULL = 400, 10_000
volume = pytest.mark.parametrize("count", [QUICK, pytest.param(FULL, marks=pytest.mark.slow)])


@pytest.fixture(scope="session")
def expected(toy_data):
    """What the model should read of a line: its known words, and <unk> for others, up to 19."""
    dictionary = load_dictionary(str(toy_data / "bin" / "dict.src.txt"))

    def read(line: bytes) -> str:
        words = tokenize_line(line.decode("utf-8", errors="replace"))[:19]  # 20 positions, one is the end symbol's
        tokens = [dictionary.index(word) for word in words]
        return dictionary.string([token for token in tokens if token != dictionary.pad()])

    return read


def answers(output: str, kind: str) -> dict[int, str]:
    """Number and text of the lines ``kind-number``, in the order printed; each number once."""
    found = re.findall(rf"^{kind}-(\d+)\t(.*)$", output.replace("\r", "?"), re.M)
    assert len(found) == len(dict(found))
    return {int(number): text for number, text in found}


@volume
@pytest.mark.parametrize("decoding", MODES)
def test_interactive(toy_data, toy_checkpoint, expected, decoding, count):
    text = lines(count)
    base = [toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--decoding", decoding, *SHORT]
    buffers = ["--buffer-size", 1000, "--batch-size", 100, "--beam", 2]
    output = fairseq("interactive", *base, *buffers, stdin=b"".join(line + b"\n" for line in text))
    for kind in "SHDP":
        assert list(answers(output, kind)) == list(range(count))
    assert answers(output, "S") == {i: expected(line) for i, line in enumerate(text)}


@volume
@pytest.mark.parametrize("decoding", MODES)
def test_generate(toy_data, toy_checkpoint, expected, binarise, decoding, count):
    folder = binarise(count)
    base = [folder, "--task", "bang", "--path", toy_checkpoint, "--decoding", decoding, *SHORT]
    output = fairseq(
        "generate", *base, "--source-lang", "src", "--target-lang", "tgt", "--batch-size", 100, "--beam", 2
    )
    for kind in "SHDP":
        assert sorted(answers(output, kind)) == list(range(count))
    found = answers(output, "S")
    # fairseq takes typed end symbols off the ends of a source before it cuts it to length
    plain = [i for i, line in enumerate(lines(count)) if b"</s>" not in line]
    assert len(plain) > count / 2
    assert {i: found[i] for i in plain} == {i: expected(lines(count)[i]) for i in plain}


@pytest.fixture(scope="session")
def binarise(toy_data, tmp_path_factory):
    """Folders with that many lines in ``test``, without a target side."""
    made = {}

    def make(count, *options):
        if (count, *options) not in made:
            folder = tmp_path_factory.mktemp("bytes")
            (folder / "test.src").write_bytes(b"".join(line + b"\n" for line in lines(count)))
            (folder / "bin").mkdir()
            dictionary = toy_data / "bin" / "dict.src.txt"
            (folder / "bin" / "dict.tgt.txt").write_text(dictionary.read_text())
            sides = ["--source-lang", "src", "--target-lang", "tgt", "--only-source", "--srcdict", dictionary]
            files = ["--testpref", folder / "test", "--destdir", folder / "bin", *options]
            fairseq("preprocess", "--task", "bang", *sides, *files)
            made[(count, *options)] = folder / "bin"
        return made[(count, *options)]

    return make


def test_preprocess_in_parallel_gives_the_same(binarise):
    one, three = binarise(QUICK), binarise(QUICK, "--workers", 3)
    for name in ("test.src-tgt.src.bin", "test.src-tgt.src.idx"):
        assert (one / name).read_bytes() == (three / name).read_bytes()


def test_building_a_dictionary(tmp_path):
    (tmp_path / "train").write_bytes(b"".join(line + b"\n" for line in lines(QUICK)))
    files = ["--trainpref", tmp_path / "train", "--destdir", tmp_path / "bin"]
    fairseq("preprocess", "--task", "bang_pretraining", "--only-source", *files)
    symbols = set(load_dictionary(str(tmp_path / "bin" / "dict.txt")).symbols)
    words = {word for line in lines(QUICK) for word in tokenize_line(line.decode("utf-8", errors="replace"))}
    assert words <= symbols


def test_interactive_as_a_user_starts_it(toy_data, toy_checkpoint, tmp_path):
    """In a process of its own, from a pipe and from a file, under the plainest of locales."""
    text = lines(100)
    (tmp_path / "input").write_bytes(b"".join(line + b"\n" for line in text))
    program = "from fairseq_cli.interactive import cli_main; cli_main()"
    base = [toy_data / "bin", "--user-dir", PLUGIN, "--task", "bang", "--path", toy_checkpoint, "--decoding", "nar"]
    command = [sys.executable, "-c", program, *map(str, [*base, *SHORT])]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with open(tmp_path / "input", "rb") as pipe:
        piped = subprocess.run(command, stdin=pipe, capture_output=True, env=environment, check=True)
    read = subprocess.run([*command, "--input", tmp_path / "input"], capture_output=True, env=environment, check=True)
    for run in (piped, read):
        assert list(answers(run.stdout.decode(), "H")) == list(range(100))


@given(st.lists(st.binary(max_size=20)), st.integers(1, 5), st.booleans())
@settings(deadline=None)
def test_lines_are_what_line_feeds_end(pieces, size, ended):
    data = b"\n".join(pieces) + b"\n" * ended
    with mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data))):
        buffers = list(tolerant_buffered_read(interactive.buffered_read)("-", size))
    whole = data.split(b"\n")[: None if data and not data.endswith(b"\n") else -1]
    assert [line for buffer in buffers for line in buffer] == [
        line.decode("utf-8", "replace").strip() for line in whole
    ]
    assert all(len(buffer) == size for buffer in buffers[:-1])


@given(st.lists(st.one_of(st.binary(max_size=12), st.text(max_size=12).map(str.encode))), st.integers(1, 4))
@settings(deadline=None)
def test_chunks_of_a_file_hold_every_line_once(tmp_path_factory, pieces, chunks):
    """fairseq-preprocess --workers: each worker reads from where one line begins to where another does."""
    path = tmp_path_factory.getbasetemp() / "chunks"
    path.write_bytes(b"\n".join(pieces) + b"\n")
    offsets = file_chunker_utils.find_offsets(str(path), chunks)
    found = []
    for start, end in zip(offsets, offsets[1:]):
        with file_chunker_utils.Chunker(str(path), start, end) as chunk:
            found += list(chunk)
    expected = [line.decode("utf-8", "replace") + "\n" for line in path.read_bytes().split(b"\n")[:-1]]
    assert found == expected
