"""The table of controls: measured on a tiny model, and shown beside another task's."""

import json

from scripts import controls, doc_tables


def test_what_is_recorded(toy_data, toy_checkpoint, tmp_path, monkeypatch):
    references = ["--references", toy_data / "test.tgt", "--metric", "per"]
    options = ["--max-len-b", 12, "--candidates", 2, "--sentences", 20]
    output = tmp_path / "docs" / "results" / "controls_toy.json"
    controls.main(list(map(str, [toy_checkpoint, toy_data / "bin", *references, *options, "--output", output])))
    found = json.loads(output.read_text())
    rows = {(row["decoding"], row["control"]): row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) and found["sentences"] == 20
    plain = rows["NAR", "none"]
    assert (plain["passes"], plain["difference"], plain["p"]) == (1, "", "")
    judged = rows["NAR", "2 candidates"]
    assert judged["passes"] == 2 and 0 < judged["p"] <= 1
    assert judged["difference"] == judged[found["quality"]] - plain[found["quality"]]
    assert rows["greedy AR", "none"]["passes"] > 1
    monkeypatch.setattr(doc_tables, "RESULTS", output.parent)
    shown = doc_tables.controls("toy", "toy").splitlines()
    assert len(shown) == 2 + len(rows) and shown[2].startswith("| NAR | none | ")
