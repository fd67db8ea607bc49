"""The dial's curve: measured on a tiny model, and drawn from what was recorded."""

import json

import pytest

from scripts.dial import main


@pytest.fixture(scope="module")
def record(toy_data, toy_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dial")
    references = toy_data / "test.tgt"
    options = ["--metric", "wer", "--alone", "2", "--max-len-b", "12", "--title", "Toy", "--whole-blocks", "2"]
    values = ["--block-sizes", "3", "--tolerance", "0", "100", "--confidence", "0.5"]
    where = ["measure", toy_checkpoint, str(toy_data / "bin"), "--references", str(references)]
    main([*where, *options, *values, "--output", str(folder / "results" / "toy.json")])
    return folder / "results" / "toy.json"


def test_what_is_recorded(record):
    found = json.loads(record.read_text())
    rows = {row["decoding"]: row for row in found["rows"]}
    settings = ["adaptive K=3, t=0", "adaptive K=3, t=100", "confident K=3, p=0.5"]
    assert list(rows) == ["greedy AR", "NAR", "semi-NAR, K=2", *settings]
    greedy, exact, whole = (rows[name] for name in ("greedy AR", *settings[:2]))
    assert exact[found["quality"]] == greedy[found["quality"]] and exact["as greedy AR"] == 1
    assert rows["NAR"]["passes"] == 1 and greedy["passes"] > exact["passes"] >= whole["passes"] > 1
    assert all(row["ms"] > 0 for row in rows.values())
    assert found["sentences"] == 43 and found["timed"] == 2 and found["seed"] == 1
    assert found["machine"]["torch"] and found["minutes"] >= 0 and found["command"].startswith("python -m scripts.dial")


def test_what_is_drawn(record, tmp_path):
    main(["plot", str(record), str(record), "--output", str(tmp_path / "dial.png")])
    assert (tmp_path / "dial.png").read_bytes().startswith(b"\x89PNG")
