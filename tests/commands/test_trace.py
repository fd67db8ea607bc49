"""bang trace: one page from what --trace-file wrote, or one line that says what is wrong with it."""

import html
import json
import re
from pathlib import Path

import pytest

from bang_plugin.__main__ import main
from bang_plugin.decoding import registry
from bang_plugin.hub import from_pretrained
from bang_plugin.serving.trace_page import read_trace

HOSTILE = ["</script><script>alert(1)</script>", "<!--", "]]>", "\"'`", "\u2028", "\ud800", "שלום", "&lt;"]


def record(number: int = 0, **changes) -> dict:
    """One sentence of two passes."""
    first = {"pass": 1, "tokens": ["B"], "probabilities": [0.9], "kept": 1}
    second = {"pass": 2, "tokens": ["AE", "NG", "</s>"], "probabilities": [0.8, 0.7, 0.6], "kept": 2}
    return {"id": number, "score": -0.5, "passes": 2, "trace": [first, second], **changes}


def written(path, *records, end="\n"):
    path.write_text("".join(json.dumps(one) + "\n" for one in records).removesuffix("\n") + end)
    return str(path)


def data_of(page: str) -> dict:
    """What the page's script will read."""
    [found] = re.findall(r'<script type="application/json" id="records">(.*?)</script>', page, re.S)
    return json.loads(found)


def test_page_holds_the_records(tmp_path, capsys):
    notes = {"draft": ["AE", "T"], "alternatives": [[["AH", 0.1]], []], "pass": 2, "kept": 2}
    step = {**notes, "tokens": ["AE", "NG"], "probabilities": [0.8, 0.7]}
    full = record(1, decoding="speculative", source=["b", "a"], trace=[step], unknown="left out")
    trace = written(tmp_path / "t.jsonl", record(0), full)
    main(["trace", trace, "-o", str(tmp_path / "t.html")])
    assert capsys.readouterr().out == f"wrote {tmp_path / 't.html'}\n"
    data = data_of((tmp_path / "t.html").read_text())
    full.pop("unknown")
    assert data == {"title": "t.jsonl", "traces": [{"name": "t.jsonl", "records": [record(0), full]}]}


def test_traces_of_every_decoding(toy_data, toy_checkpoint, tmp_path):
    """As they are written: the page's tokens are the outputs'."""
    hub = from_pretrained(str(Path(toy_checkpoint).parent), data_name_or_path=toy_data / "bin", cpu=True)
    texts, written, files = ["a b c", "h g f e d c b a", ""], {}, []
    for decoding in registry.names():
        files.append(str(tmp_path / decoding))
        options = {"beam": 1, "max_len_b": 12, "trace_file": files[-1]}
        written[decoding] = [found[0]["text"] for found in hub.generate(texts, decoding=decoding, **options)]
    main(["trace", *files, "-o", str(tmp_path / "t.html")])
    for shown in data_of((tmp_path / "t.html").read_text())["traces"]:
        for one in shown["records"]:
            kept = [token for step in one["trace"] for token in step["tokens"][: step["kept"]]]
            assert one["decoding"] == shown["name"] and " ".join(one["source"]) == texts[one["id"]]
            assert " ".join(kept[:-1]) == written[shown["name"]][one["id"]] and kept[-1] == "</s>"
        assert len(shown["records"]) == 3


def test_several_traces_one_title_some_sentences(tmp_path):
    left, right = written(tmp_path / "a", record(0), record(3)), written(tmp_path / "b", record(3), record(4))
    main(["trace", left, right, "-o", str(tmp_path / "t.html"), "--ids", "3", "4", "--title", "<Both>"])
    page = (tmp_path / "t.html").read_text()
    assert "<title>&lt;Both&gt;</title>" in page
    shown = {one["name"]: [r["id"] for r in one["records"]] for one in data_of(page)["traces"]}
    assert shown == {"a": [3], "b": [3, 4]} and data_of(page)["title"] == "<Both>"


def test_page_asks_for_nothing_and_runs_nothing_else(tmp_path):
    """Hostile text stays text, and the page names no file and no address."""
    step = {"pass": 1, "tokens": HOSTILE, "probabilities": [1, 0, 0.5, 1, 1, 1, float("nan"), 1], "kept": 8}
    trace = written(tmp_path / "t.jsonl", record(trace=[step], score=float("-inf")))
    main(["trace", trace, "-o", str(tmp_path / "t.html"), "--title", HOSTILE[0]])
    page = (tmp_path / "t.html").read_text()
    assert page.count("<script") == page.count("</script>") == 2 and "alert(1)" not in re.sub(
        r"<script.*?</script>|<title>.*", "", page, flags=re.S
    )
    assert f"<title>{html.escape(HOSTILE[0])}</title>" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)|url\(|https?://|^import """, page, re.M)
    [shown] = data_of(page)["traces"][0]["records"]
    assert shown["trace"][0]["tokens"] == HOSTILE and shown["score"] is shown["trace"][0]["probabilities"][6] is None


@pytest.mark.parametrize(
    "line, reason",
    [
        ("a line of text", "no whole JSON object"),
        ('{"id": 1, "score"', "no whole JSON object"),
        ("", "no whole JSON object"),
        ("[" * 100000, "no whole JSON object"),
        ("[1]", "it is no object"),
        (json.dumps({"beam": 4}), "id is no number"),
        (json.dumps(record(id="x")), "id is no number"),
        (json.dumps(record(id=2**60)), "id is no number"),
        (json.dumps(record(passes=True)), "passes is no number"),
        (json.dumps(record(score=None)), "score is no number"),
        (json.dumps(record(trace=[])), "trace is no list of passes"),
        (json.dumps(record(trace=[{}])), "a pass has no number"),
        (json.dumps(record(source="b a")), "source is no list"),
        (json.dumps(record(decoding=1)), "decoding is no name"),
    ],
)
def test_what_is_no_trace(tmp_path, line, reason):
    """File and line are named, and the page of an earlier run stays."""
    trace, page = tmp_path / "t.jsonl", tmp_path / "t.html"
    trace.write_text(json.dumps(record()) + "\n" + line + "\n")
    page.write_text("earlier")
    with pytest.raises(SystemExit, match=f"^error: {trace}: line 2 is no record that --trace-file wrote: {reason}"):
        main(["trace", str(trace), "-o", str(page)])
    assert page.read_text() == "earlier" and sorted(p.name for p in tmp_path.iterdir()) == ["t.html", "t.jsonl"]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"tokens": [1]}, "tokens is no list of text"),
        ({"probabilities": ["x"]}, "probabilities is no list of numbers"),
        ({"probabilities": []}, "there are 1 tokens, but 0 probabilities"),
        ({"kept": 2}, "kept is no number of its tokens"),
        ({"kept": -1}, "kept is no number of its tokens"),
        ({"draft": "x"}, "draft is no list of text"),
        ({"alternatives": [["x"]]}, "alternatives are no pairs"),
    ],
)
def test_a_pass_that_is_none(tmp_path, change, reason):
    step = {"pass": 5, "tokens": ["B"], "probabilities": [0.9], "kept": 1, **change}
    trace = written(tmp_path / "t", record(trace=[step]))
    with pytest.raises(ValueError, match=f"t: line 1 .*: in pass 5 {reason}"):
        read_trace(tmp_path / "t")
    assert trace


@pytest.mark.parametrize(
    "options, line",
    [
        (["none.jsonl", "-o", "x.html"], "none.jsonl: No such file or directory"),
        (["empty", "-o", "x.html"], "empty: no text in it"),
        (["t", "-o", "t"], "--output t: this is the trace itself; name another file"),
        (["t", "-o", "folder"], "folder: Is a directory"),
        (["t", "-o", "x.html", "--ids", "0", "9"], "--ids 9: no trace has this sentence; there are 1, such as 0"),
        (["latin", "-o", "x.html"], "latin: line 1 is not UTF-8"),
    ],
)
def test_one_line(tmp_path, monkeypatch, options, line):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "t", record())
    (tmp_path / "empty").write_text("")
    (tmp_path / "latin").write_bytes(b"\xe9\n")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit, match=f"^error: {line}$"):
        main(["trace", *options])
    assert sorted(tmp_path.iterdir()) == before
