"""Rows by a language model: answers of every kind, silence, and servers that are not there."""

import contextlib
import http.server
import json
import threading
import time

import pytest

from onegpu import making

SWAMP = making.Document("swamp.md", text="The swamp is 12 meters deep. Frogs live in it.")
GOOD = '{"question": "How deep is the swamp?", "answer": "12 meters"}'


def answers(*said):
    """Return a function that gives one answer after the other, and what it was asked."""
    asked, left = [], list(said)

    def ask(messages):
        asked.append(messages)
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return ask, asked


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Sure! Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        f"[{GOOD}]",
        "{'Question': 'How deep is the swamp?', 'Answer': '12 meters'}",
        '{"q": "How deep is the swamp?", "a": "12 meters"}',
        '{"question": "How deep is the swamp?",\n"answer": "12 meters",}',
        "Question: How deep is the swamp?\nAnswer: 12 meters",
        "**Q:** How deep is the swamp?\n\n**A:** 12 meters",
        '{"question": "How deep is the swamp?", "answer": "12 meters"',
    ],
)
def test_answers_that_can_be_read(text):
    assert making.question_and_answer(text) == [("How deep is the swamp?", "12 meters")]


def test_several_pairs_and_numbers():
    text = '{"question": "a?", "answer": 12} {"question": "b?", "answer": "c\nd"}'
    assert making.question_and_answer(text) == [("a?", "12"), ("b?", "c\nd")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The swamp is deep.", "no question and answer in 'The swamp is deep.'"),
        ("", "no question and answer"),
        ('{"question": "a?", "answer": ""}', "empty or no text"),
        ('{"question": "a?", "answer": ["b"]}', "empty or no text"),
        ('{"question": "a?"}', "no question and answer"),
        ("{" * 5000, "no question and answer"),
    ],
)
def test_answers_that_cannot_say_why(text, said):
    with pytest.raises(ValueError, match=said):
        making.question_and_answer(text)


def test_a_row_quotes_its_chunk():
    ask, asked = answers(GOOD, GOOD)
    first, second = making.by_model(ask, max_words=7)(SWAMP)
    assert first["quote"] == "The swamp is 12 meters deep."
    assert second["quote"] == "Frogs live in it."
    assert first["quote"] in asked[0][0]["content"]
    assert making.not_grounded(first, SWAMP) == ""
    assert making.not_grounded(second, SWAMP) == "numbers not in the passage: 12"


def test_a_bad_answer_is_told_and_asked_for_again():
    ask, asked = answers("Deep.", GOOD)
    (row,) = making.by_model(ask)(SWAMP)
    assert row["completion"][0]["content"] == "12 meters"
    assert [turn["role"] for turn in asked[1]] == ["user", "assistant", "user"]
    assert "no question and answer in 'Deep.'" in asked[1][2]["content"]


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        (("Deep.", "Deep."), "bad-answer", "no question and answer in 'Deep.'"),
        ((TimeoutError("60 s"),) * 2, "no-answer", "TimeoutError: 60 s"),
        ((TimeoutError("60 s"), "Deep."), "bad-answer", "no question"),
        ((RuntimeError("500: busy"),) * 2, "no-answer", "RuntimeError: 500: busy"),
    ],
)
def test_after_two_tries_it_is_a_rejected_row(tmp_path, said, reason, detail):
    (tmp_path / "swamp.md").write_text(SWAMP.text)
    ask, _ = answers(*said)
    report = making.make(
        tmp_path / "swamp.md", out=tmp_path / "rows.jsonl", writers=[making.by_model(ask)]
    )
    assert report.rejected == {reason: 1}
    row = json.loads(report.files["rejected"].read_text())
    assert row["detail"].startswith(detail)
    assert row["quote"] == SWAMP.text


def test_a_server_that_goes_away_loses_nothing(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in "abc":
        text = f"# Swamp {name}\n\nThe swamp is 12 meters deep."
        (folder / f"{name}.md").write_text(text)
    out = tmp_path / "rows.jsonl"
    settings = making.Settings(without=["duplicate", "near-duplicate"])
    ask, _ = answers(GOOD, ConnectionError("gone"))
    with pytest.raises(ConnectionError, match=r"gone: .*rows.jsonl keeps what was made"):
        making.make(folder, out=out, writers=[making.by_model(ask)], settings=settings)
    ask, asked = answers(GOOD, GOOD)
    report = making.make(folder, out=out, writers=[making.by_model(ask)], settings=settings)
    assert report.n_rows == 3
    assert len(asked) == 2, "what was answered is not asked again"


@contextlib.contextmanager
def server(seconds=0.0):
    """A server that takes OpenAI's requests."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"data": [{"id": "the only model"}]})

        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            time.sleep(seconds)
            self.answer({"choices": [{"message": {"content": GOOD}}]})

        def answer(self, told):
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(told).encode())

        def log_message(self, *arguments):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}", bodies
    finally:
        serving.shutdown()
        serving.server_close()


@pytest.mark.parametrize(
    ("suffix", "model"), [("", "the only model"), ("/v1", "the only model"), ("#mine", "mine")]
)
def test_a_server_is_asked(suffix, model):
    with server() as (url, bodies):
        (row,) = making.by_model(url + suffix)(SWAMP)
    assert row["writer"] == "model"
    assert row["completion"][0]["content"] == "12 meters"
    assert (bodies[0]["model"], bodies[0]["temperature"]) == (model, 0)


def test_a_server_that_does_not_answer_in_time():
    with server(seconds=1) as (url, bodies):
        (row,) = making.by_model(f"{url}#m", timeout_s=0.05)(SWAMP)
        assert len(bodies) == 2
    assert (row["reason"], row["detail"]) == ("no-answer", "TimeoutError: timed out")


def test_a_server_that_is_not_there():
    with pytest.raises(ConnectionError, match=r"no server answers at http://127.0.0.1:9"):
        list(making.by_model("http://127.0.0.1:9#m")(SWAMP))
    with pytest.raises(ValueError, match="ask is 'gpt': give a function, or an address"):
        making.by_model("gpt")
