"""Parity with servers that take OpenAI's requests, played here in the formats of Ollama and vLLM.

Sources: https://github.com/ollama/ollama/blob/main/openai/openai.go,
https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/chat_completion/protocol.py
"""

import contextlib
import dataclasses
import http.server
import json
import math
import threading

import pytest
import torch

from helpers import yoda
from onegpu import parity, serving

PROMPTS = [yoda.prompt(row["sentence"]) for row in yoda.rows("test")[:6]]
N_NEW = 8


class Ollama:
    """Tells tokens as text, without the end, and how many the prompt has."""

    models = ("yoda:latest",)
    tells_logprobs = True

    def __init__(self, answers, tokenizer):
        self.answers = {str(prompt): one for prompt, one in zip(PROMPTS, answers, strict=True)}
        self.tokenizer = tokenizer
        self.asked = []

    def token(self, token, body):
        """Return a token as this server writes it."""
        return self.tokenizer.decode([token])

    def content(self, one, body):
        """Return the probabilities of an answer, place by place."""
        content = []
        for token, place in zip(one.ids, one.likeliest, strict=False):
            likeliest = sorted(place.items(), key=lambda item: -item[1])[: body["top_logprobs"]]
            told = [{"token": self.token(t, body), "logprob": p} for t, p in likeliest]
            chosen = {"token": self.token(token, body), "logprob": place[token]}
            content.append({**chosen, "top_logprobs": told})
        return content

    def chat(self, body):
        """Return what /v1/chat/completions does."""
        self.asked.append(body)
        one = self.answers[str(body["messages"])]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": one.text},
            "finish_reason": "length" if one.end is None else "stop",
        }
        if self.tells_logprobs and body.get("logprobs"):
            choice["logprobs"] = {"content": self.content(one, body)}
        usage = {"prompt_tokens": len(one.prompt_ids), "completion_tokens": len(one.ids)}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}


class OldOllama(Ollama):
    """Tells no probabilities, as before 0.12.11."""

    tells_logprobs = False


class VLLM(Ollama):
    """Tells ids where it is asked to, and the end token among them."""

    models = ("base", "yoda")

    def token(self, token, body):
        """Return a token by its id, if asked to."""
        if body.get("return_tokens_as_token_ids"):
            return f"token_id:{token}"
        return super().token(token, body)

    def content(self, one, body):
        """Return also the end token."""
        ids = one.ids if one.end is None else (*one.ids, one.end)
        return super().content(dataclasses.replace(one, ids=ids), body)

    def chat(self, body):
        """Return also the tokens of the prompt."""
        one = self.answers[str(body["messages"])]
        told = super().chat(body)
        if body.get("return_token_ids"):
            told["prompt_token_ids"] = list(one.prompt_ids)
        return told


@contextlib.contextmanager
def playing(server):
    """Serve what a server says, at the address that is yielded."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, code, value):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def do_GET(self):
            if self.path == "/v1/models":
                data = [{"id": name, "object": "model"} for name in server.models]
                self.answer(200, {"object": "list", "data": data})
            else:
                self.answer(404, {"error": {"message": "not found"}})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions" or body["model"] not in server.models:
                self.answer(404, {"error": {"message": "not found"}})
            else:
                self.answer(200, server.chat(body))

        def log_message(self, *arguments):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def side(tiny_model, tokenizer):
    """A model that is sure of its next token, as trained models are, and ends one answer."""
    torch.manual_seed(0)
    for layer in (tiny_model.get_input_embeddings(), tiny_model.get_output_embeddings()):
        torch.nn.init.normal_(layer.weight)
    answers = parity.record((tiny_model, tokenizer), PROMPTS, max_new_tokens=N_NEW).answers
    tiny_model.generation_config.eos_token_id = answers[0].ids[5]
    return tiny_model, tokenizer


@pytest.fixture
def recorded(side):
    """What the model answers."""
    found = parity.record(side, PROMPTS, max_new_tokens=N_NEW)
    assert found.answers[0].end is not None
    return found


def compare(recorded, server, model=""):
    """Compare a recording with a server."""
    with playing(server) as url:
        return parity.compare(recorded, url + model, PROMPTS, max_new_tokens=N_NEW)


def test_the_same_model_behind_vllm(recorded, tokenizer):
    server = VLLM(recorded.answers, tokenizer)
    report = compare(recorded, server, "/v1#yoda")
    assert report.verdict == "THE SAME MODEL", report
    assert (report.n_same_tokens, report.notes) == (6, ())
    assert report.n_places == sum(len(one.likeliest) for one in recorded.answers)
    asked = server.asked[0]
    assert (asked["model"], asked["temperature"], asked["repetition_penalty"]) == ("yoda", 0, 1)


def test_the_same_model_behind_ollama(recorded, tokenizer):
    report = compare(recorded, Ollama(recorded.answers, tokenizer))
    assert report.verdict == "THE SAME MODEL", report
    assert report.n_places >= 20
    (note,) = report.notes
    assert note.startswith("the candidate: its server tells how many tokens a prompt has, and not")


def test_a_server_as_reference(recorded, side, tokenizer):
    with playing(Ollama(recorded.answers, tokenizer)) as url:
        report = parity.compare(url, side, PROMPTS, max_new_tokens=N_NEW)
        assert report.verdict == "THE SAME MODEL", report
        assert parity.compare(url, url, PROMPTS, max_new_tokens=N_NEW).verdict == "THE SAME MODEL"


@pytest.mark.parametrize("kind", [Ollama, VLLM])
def test_another_model_behind_a_server(recorded, side, tokenizer, kind):
    torch.manual_seed(1)
    torch.nn.init.normal_(side[0].get_output_embeddings().weight)
    other = parity.record(side, PROMPTS, max_new_tokens=N_NEW)
    verdict = compare(recorded, kind(other.answers, tokenizer), f"#{kind.models[-1]}").verdict
    assert "its probabilities are too far off" in verdict
    assert "transformers 4 reading what 5 saved" in verdict


def test_a_quantized_model_behind_a_server(recorded, side, tokenizer):
    with torch.no_grad():
        weight = side[0].get_output_embeddings().weight
        weight.mul_(1 + 0.01 * torch.randn_like(weight))
    other = parity.record(side, PROMPTS, max_new_tokens=N_NEW)
    expected = parity.compare(recorded, other, PROMPTS)
    report = compare(recorded, Ollama(other.answers, tokenizer))
    assert report.verdict.startswith("ALIKE")
    assert 0.3 * expected.mean_kl < report.mean_kl < expected.mean_kl * 1.5


def test_a_server_that_tells_no_probabilities(recorded, tokenizer):
    report = compare(recorded, OldOllama(recorded.answers, tokenizer))
    assert report.verdict.startswith("THE SAME ANSWERS, with too few probabilities")
    assert report.notes[0] == (
        "the candidate: its server tells no probabilities, so that only texts are compared"
    )
    others = [dataclasses.replace(recorded.answers[0], text="no"), *recorded.answers[1:]]
    report = compare(recorded, OldOllama(others, tokenizer))
    assert (
        report.verdict
        == "NOT THE SAME: 1 of 6 answers differ, with too few probabilities to tell why"
    )


def test_a_template_of_its_own_behind_a_server(recorded, tokenizer):
    others = [
        dataclasses.replace(one, prompt_ids=(5, 6, *one.prompt_ids), prompt_text="")
        for one in recorded.answers
    ]
    n = len(recorded.answers[0].prompt_ids)
    verdict = compare(recorded, Ollama(others, tokenizer)).verdict
    assert f"the reference's prompt has {n} tokens, the candidate's {n + 2}: another" in verdict
    verdict = compare(recorded, VLLM(others, tokenizer), "#yoda").verdict
    assert "the prompt becomes other tokens: another chat template, or pre-tokenizer" in verdict


def test_an_end_token_that_a_server_does_not_stop_at(recorded, tokenizer):
    first = recorded.answers[0]
    text = first.text + tokenizer.decode([first.end]) + "more"
    goes_on = dataclasses.replace(
        first,
        ids=(*first.ids, first.end, 5),
        text=text,
        end=None,
        likeliest=(*first.likeliest, {5: math.log(0.9), 6: math.log(0.1)}),
    )
    report = compare(recorded, Ollama([goes_on, *recorded.answers[1:]], tokenizer))
    assert "its end token is missing, or is not stopped at" in report.verdict


def test_a_penalty_that_a_server_keeps(recorded, tokenizer):
    """Ollama applies that of its Modelfile, whatever the request says."""
    penalized = []
    for one in recorded.answers:
        second = sorted(one.likeliest[1], key=one.likeliest[1].get)[-2]
        ids = (one.ids[0], second, *one.ids[2:])
        likeliest = [dict(place) for place in one.likeliest]
        for token, place in zip(ids, likeliest, strict=False):
            place.setdefault(token, -9.0)
        penalized.append(dataclasses.replace(one, ids=ids, likeliest=tuple(likeliest)))
    verdict = compare(recorded, Ollama(penalized, tokenizer)).verdict
    assert "the candidate takes a token that is not its likeliest" in verdict


def test_a_model_that_is_not_served(recorded, tokenizer):
    server = VLLM(recorded.answers, tokenizer)
    with pytest.raises(ValueError, match=r"serves base, yoda, and '' was asked for: put one of"):
        compare(recorded, server)
    with pytest.raises(ValueError, match=r"and 'toy' was asked for.*such as http://127.*#base"):
        compare(recorded, server, "#toy")


def test_the_address_of_a_server():
    assert serving.address("http://host:1/") == ("http://host:1", "")
    assert serving.address("https://host/v1/#a/b:c") == ("https://host", "a/b:c")


def test_tokens_of_a_part_of_a_character_are_compared_as_text(recorded, tokenizer):
    """Text cannot tell them apart."""
    parts = tokenizer.encode("🦉", add_special_tokens=False)
    assert len(parts) > 1
    place = {token: math.log(1 / len(parts)) for token in parts}
    owl = dataclasses.replace(
        recorded.answers[0], ids=tuple(parts), text="🦉", likeliest=(place,) * (len(parts) + 1)
    )
    answers = (owl, *recorded.answers[1:])
    texts = {**recorded.texts, **{token: tokenizer.decode([token]) for token in parts}}
    reference = parity.Recording(answers, texts=texts)
    assert compare(reference, Ollama(answers, tokenizer)).verdict == "THE SAME MODEL"
