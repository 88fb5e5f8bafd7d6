"""The loopback server, driven by the real SDKs: what it writes is what they read."""

import base64
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import httpx
import httpx2
import numpy as np
import openai
import pytest
import together
from google import genai
from google.genai import errors, types

from core.images import encode_png
from core.vlm.datasets import scene_items
from tests.support.vlm_server import (
    HOSTILE,
    LISTED,
    SENTENCE,
    SUCCESSOR,
    UNSURE,
    VlmServer,
    key_digest,
    pixel_digest,
)
from tests.support.vlm_server.behaviours import Ask, Reply, step_for
from tests.support.vlm_server.truths import teach_items

RGB = np.arange(12 * 20 * 3, dtype=np.uint8).reshape(12, 20, 3)
PNG = encode_png(RGB)
SERVICES = ("gemini", "openai", "together")


@dataclass
class Client:
    """One SDK, asked in the same way as the others."""

    ask: Callable[..., list[str]]
    """Model and prompt to the pieces of the answer, as they came."""
    last: Callable[[], Any]
    """The last event of the last answer that came to its end."""
    models: Callable[[], list[str]]


def chat_messages(prompt: str) -> list[Any]:
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    picture = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": prompt}]}]


def chat_client(sdk: Any, models: Callable[[], list[str]], **options: Any) -> Client:
    events: list[Any] = []

    def ask(model: str, prompt: str = "What is it?") -> list[str]:
        events.clear()
        stream = sdk.chat.completions.create(
            model=model, messages=chat_messages(prompt), stream=True, max_tokens=99, **options
        )
        events.extend(stream)
        choices = [event.choices[0].delta.content for event in events if event.choices]
        return [text for text in choices if text]

    return Client(ask, lambda: events[-1], models)


def open_openai(url: str, key: str, timeout: float) -> Client:
    sdk = openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, timeout=timeout)
    return chat_client(
        sdk, lambda: [model.id for model in sdk.models.list()], stream_options={"include_usage": True}
    )


def open_together(url: str, key: str, timeout: float) -> Client:
    sdk = together.Together(api_key=key, base_url=url, max_retries=0, timeout=timeout)

    def models() -> list[str]:
        listed: Any = sdk.get("/v1/models", cast_to=object)
        return [model["id"] for model in listed]

    return chat_client(sdk, models)


def open_gemini(url: str, key: str, timeout: float) -> Client:
    options = types.HttpOptions(base_url=url, timeout=int(timeout * 1000))
    sdk = genai.Client(api_key=key, http_options=options)
    events: list[types.GenerateContentResponse] = []

    def ask(model: str, prompt: str = "What is it?") -> list[str]:
        events.clear()
        contents: Any = [types.Part.from_bytes(data=PNG, mime_type="image/png"), prompt]
        limit = types.GenerateContentConfig(max_output_tokens=99)
        events.extend(sdk.models.generate_content_stream(model=model, contents=contents, config=limit))
        return [event.text for event in events if event.text]

    return Client(ask, lambda: events[-1], lambda: [str(model.name) for model in sdk.models.list()])


OPEN = {"gemini": open_gemini, "openai": open_openai, "together": open_together}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@lru_cache
def open_client(service: str, url: str, key: str, timeout: float = 5.0) -> Client:
    """Each once: an SDK takes longer to open than to ask."""
    return OPEN[service](url, key, timeout)


@pytest.fixture
def client(service: str, vlm_server: VlmServer) -> Client:
    return open_client(service, vlm_server.url, "a-key")


def test_a_plain_answer_streams_word_by_word(client: Client, service: str, vlm_server: VlmServer) -> None:
    pieces = client.ask("ok")
    assert "".join(pieces) == SENTENCE and len(pieces) == len(SENTENCE.split())
    (seen,) = vlm_server.requests
    assert (seen.service, seen.model, seen.prompt) == (service, "ok", "What is it?")
    assert seen.key_digest == key_digest("a-key") and "a-key" not in repr(seen)
    picture = seen.picture
    assert picture is not None and picture.digest == pixel_digest(RGB)
    assert (picture.media_type, picture.nbytes, picture.width, picture.height) == (
        "image/png",
        len(PNG),
        20,
        12,
    )
    assert "99" in repr(seen.sent.options) and seen.sent.stream


def test_tokens_of_gemini(vlm_server: VlmServer) -> None:
    client = open_client("gemini", vlm_server.url, "a-key")
    client.ask("counted")
    usage = client.last().usage_metadata
    words = len(SENTENCE.split())
    assert usage.prompt_token_count == 3 + 258
    assert [(d.modality.value, d.token_count) for d in usage.prompt_tokens_details] == [
        ("TEXT", 3),
        ("IMAGE", 258),
    ]
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (words, 7)
    assert usage.cached_content_token_count == 128
    assert usage.total_token_count == 261 + words + 7


def test_tokens_of_openai_hold_the_thoughts(vlm_server: VlmServer) -> None:
    client = open_client("openai", vlm_server.url, "a-key")
    client.ask("counted")
    usage = client.last().usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (261, len(SENTENCE.split()) + 7)
    assert usage.completion_tokens_details.reasoning_tokens == 7
    assert usage.prompt_tokens_details.cached_tokens == 128


def test_openai_tells_tokens_only_when_asked(vlm_server: VlmServer) -> None:
    sdk = openai.OpenAI(api_key="k", base_url=f"{vlm_server.url}/v1")
    events = list(sdk.chat.completions.create(model="ok", messages=chat_messages("x"), stream=True))
    assert events[-1].choices[0].finish_reason == "stop"
    assert all(event.usage is None for event in events)


def test_tokens_of_together_stand_in_two_places(vlm_server: VlmServer) -> None:
    client = open_client("together", vlm_server.url, "a-key")
    client.ask("loopback/cached")
    flat = client.last().usage
    assert flat.cached_tokens == 128 and "prompt_tokens_details" not in flat.model_dump()
    client.ask("loopback/counted")
    nested = client.last().usage.model_dump()
    assert nested["prompt_tokens_details"] == {"cached_tokens": 128} and "cached_tokens" not in nested
    assert nested["completion_tokens_details"] == {"reasoning_tokens": 7}


@pytest.mark.parametrize("model", ["ok", "truncated", "reasoning-only"])
def test_in_one_piece_it_says_the_same_as_in_a_stream(model: str, vlm_server: VlmServer) -> None:
    sdk = openai.OpenAI(api_key="k", base_url=f"{vlm_server.url}/v1")
    whole = sdk.chat.completions.create(model=model, messages=chat_messages("a b"))
    streamed = open_client("openai", vlm_server.url, "a-key")
    assert whole.choices[0].message.content == "".join(streamed.ask(model, "a b"))
    assert whole.usage == streamed.last().usage
    gemini = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=vlm_server.url))
    one = gemini.models.generate_content(model=model, contents="a b")
    *_, last = gemini.models.generate_content_stream(model=model, contents="a b")
    assert one.usage_metadata == last.usage_metadata
    assert one.candidates and last.candidates
    assert one.candidates[0].finish_reason == last.candidates[0].finish_reason


def test_lists_of_models(client: Client, service: str, vlm_server: VlmServer) -> None:
    before = {"gemini": "models/", "openai": "", "together": "loopback/"}[service]
    assert client.models() == [before + name for name in LISTED]
    vlm_server.listing = "http-503"
    with pytest.raises((openai.InternalServerError, together.InternalServerError, errors.ServerError)):
        client.models()


def test_gemini_lists_its_models_by_pages(vlm_server: VlmServer) -> None:
    sdk = genai.Client(
        api_key="k", http_options=types.HttpOptions(base_url=vlm_server.url, api_version="v1beta")
    )
    listed = [model.name for model in sdk.models.list(config={"page_size": 10})]
    assert listed == [f"models/{name}" for name in LISTED]
    assert len(vlm_server.requests) == -(-len(LISTED) // 10)


def test_the_catalogue_of_together_reads(vlm_server: VlmServer) -> None:
    sdk = together.Together(api_key="k", base_url=vlm_server.url)
    first = next(iter(sdk.models.list_supported()))
    assert first.name == "loopback/ok" and "MODALITY_IMAGE" in first.input_modalities


STATUS = {f"http-{code}": code for code in (400, 401, 402, 403, 404, 408, 429, 500, 503, 504)}
STATUS |= {"http-429-hard": 429, "html-error": 502, "no-such-model": 404}


def status_of(error: Exception) -> int:
    return int(error.code if isinstance(error, errors.APIError) else getattr(error, "status_code", 0))


@pytest.mark.parametrize("model", STATUS)
def test_statuses(model: str, client: Client) -> None:
    with pytest.raises((openai.APIStatusError, together.APIStatusError, errors.APIError)) as caught:
        client.ask(model)
    assert status_of(caught.value) == STATUS[model]


@pytest.mark.parametrize("key", ["wrong-key", "a-key"])
def test_a_wrong_key_is_a_400_at_gemini(key: str, service: str, vlm_server: VlmServer) -> None:
    client = open_client(service, vlm_server.url, key)
    with pytest.raises((openai.AuthenticationError, together.AuthenticationError, errors.ClientError)) as e:
        client.ask("bad-key" if key == "a-key" else "ok")
    assert status_of(e.value) == (400 if service == "gemini" else 401)
    if service == "gemini":
        assert isinstance(e.value, errors.ClientError)
        assert e.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(("model", "seconds"), [("http-429", 0.05), ("http-429-hard", 3600.0)])
def test_hints_stand_in_the_body_at_gemini_and_in_headers_elsewhere(
    model: str, seconds: float, client: Client, service: str
) -> None:
    with pytest.raises((openai.RateLimitError, together.RateLimitError, errors.ClientError)) as caught:
        client.ask(model)
    error: Any = caught.value
    if service == "gemini":
        (retry,) = (d for d in error.details["error"]["details"] if d["@type"].endswith("RetryInfo"))
        assert float(retry["retryDelay"].removesuffix("s")) == seconds
        assert "retry-after" not in error.response.headers
    else:
        assert float(error.response.headers["retry-after"]) == seconds


def test_a_spent_quota(client: Client, service: str) -> None:
    with pytest.raises((openai.RateLimitError, together.APIStatusError, errors.ClientError)) as caught:
        client.ask("quota")
    error: Any = caught.value
    if service == "gemini":
        assert "PerDay" in error.details["error"]["details"][0]["violations"][0]["quotaId"]
    elif service == "openai":
        assert error.code == "insufficient_quota"
    else:
        assert error.status_code == 402


def test_a_blocked_prompt(client: Client, service: str) -> None:
    if service == "openai":
        with pytest.raises(openai.BadRequestError) as caught:
            client.ask("blocked-prompt")
        assert caught.value.code == "content_policy_violation"
        return
    assert client.ask("blocked-prompt") == []
    last = client.last()
    if service == "gemini":
        assert last.candidates is None and last.prompt_feedback.block_reason.value == "SAFETY"
    else:
        assert last.choices[0].finish_reason == "content_filter"


GEMINI_ENDS = {
    "blocked-answer": (True, "SAFETY"),
    "safety": (False, "SAFETY"),
    "recitation": (False, "RECITATION"),
    "refused": (False, "PROHIBITED_CONTENT"),
    "truncated": (True, "MAX_TOKENS"),
    "thinking": (False, "MAX_TOKENS"),
    "empty": (False, "STOP"),
    "reasoning-only": (False, "STOP"),
}
CHAT_FINISH = {"truncated": "length", "thinking": "length"} | dict.fromkeys(
    ("empty", "reasoning-only", "refused"), "stop"
)


@pytest.mark.parametrize("model", GEMINI_ENDS)
def test_ends_without_an_answer(model: str, client: Client, service: str) -> None:
    has_text, finish = GEMINI_ENDS[model]
    assert bool(client.ask(model)) == has_text
    last = client.last()
    if service == "gemini":
        assert last.candidates[0].finish_reason.value == finish
        assert (last.usage_metadata.thoughts_token_count or 0) == {"thinking": 64, "reasoning-only": 7}.get(
            model, 0
        )
    elif service == "together":
        assert last.choices[0].finish_reason == CHAT_FINISH.get(model, "content_filter")


def test_a_refusal_has_a_field_of_its_own(vlm_server: VlmServer) -> None:
    sdk = openai.OpenAI(api_key="k", base_url=f"{vlm_server.url}/v1")
    whole = sdk.chat.completions.create(model="refused", messages=chat_messages("x")).choices[0].message
    assert (whole.content, whole.refusal) == (None, "I cannot help with that.")
    events = sdk.chat.completions.create(model="refused", messages=chat_messages("x"), stream=True)
    assert "".join(e.choices[0].delta.refusal or "" for e in events if e.choices) == whole.refusal


def test_another_model_answers(client: Client, service: str) -> None:
    client.ask("other-model")
    last = client.last()
    assert (last.model_version if service == "gemini" else last.model) == SUCCESSOR


CUT = (httpx.RemoteProtocolError, httpx2.RemoteProtocolError, openai.APIConnectionError)
SLOW = (httpx2.ReadTimeout, httpx.ReadTimeout, openai.APITimeoutError, together.APITimeoutError)


def test_a_cut_stream(client: Client) -> None:
    with pytest.raises(CUT):
        client.ask("cut")


@pytest.mark.parametrize("model", ["stall", "silent"])
def test_a_stall_and_silence_outlast_the_client(model: str, service: str, vlm_server: VlmServer) -> None:
    client = open_client(service, vlm_server.url, "a-key", 0.15)
    with pytest.raises(SLOW):
        client.ask(model)


def test_what_is_no_answer(client: Client, service: str) -> None:
    with pytest.raises((ValueError, errors.UnknownApiResponseError)):
        client.ask("malformed")
    with pytest.raises((openai.APIError, together.APIError, errors.ServerError)):
        client.ask("error-midway")
    if service == "gemini":
        with pytest.raises(errors.UnknownApiResponseError):
            client.ask("html")
    else:
        assert client.ask("html") == []


def test_ten_megabytes_and_hostile_text_arrive_whole(client: Client) -> None:
    assert 10_000_000 <= len("".join(client.ask("huge"))) < 10_100_000
    assert "".join(client.ask("hostile")) == "".join(HOSTILE)
    prompt = 'Zwei  Wörter,\n"Zitat" und \u202e\u4f60\u597d '
    assert "".join(client.ask("echo", prompt)) == prompt


def test_slow_pieces_arrive_one_by_one(vlm_server: VlmServer) -> None:
    sdk = openai.OpenAI(api_key="k", base_url=f"{vlm_server.url}/v1")
    stream = sdk.chat.completions.create(model="slow", messages=chat_messages("x"), stream=True)
    at = [time.perf_counter() for event in stream if event.choices and event.choices[0].delta.content]
    assert len(at) == 20 and at[-1] - at[0] >= 19 * 0.05 - 0.01
    assert max(np.diff(at)) < 0.5


def test_flaky_counts_each_key_apart(service: str, vlm_server: VlmServer) -> None:
    first, second = (open_client(service, vlm_server.url, key) for key in ("one", "two"))
    outcomes = [works(first), works(second), works(first), works(first), works(second), works(second)]
    assert outcomes == [False, False, False, True, False, True]
    vlm_server.reset()
    assert vlm_server.requests == () and not works(first)


def works(client: Client) -> bool:
    try:
        return "".join(client.ask("flaky-2")) == SENTENCE
    except (openai.InternalServerError, together.InternalServerError, errors.ServerError):
        return False


def test_a_model_that_only_one_key_may_ask(service: str, vlm_server: VlmServer) -> None:
    model = f"key-{key_digest('one')}"
    assert "".join(open_client(service, vlm_server.url, "one").ask(model)) == SENTENCE
    with pytest.raises((openai.AuthenticationError, together.AuthenticationError, errors.ClientError)):
        open_client(service, vlm_server.url, "two").ask(model)


def test_it_knows_only_the_truth_that_it_was_told(client: Client, vlm_server: VlmServer) -> None:
    vlm_server.teach(RGB, "How many?", "seven")
    assert "".join(client.ask("truth-1.0", "How many?")) == "seven"
    assert "".join(client.ask("truth-1.0", "Something else?")) == UNSURE
    assert "".join(client.ask("truth-0", "How many?")) == UNSURE


def test_it_is_told_the_truth_of_scenes(vlm_server: VlmServer) -> None:
    items = scene_items(4, 3)
    teach_items(vlm_server, items)
    sdk = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=vlm_server.url))
    for position in range(4):
        item = items.at(position)
        png: Any = types.Part.from_bytes(data=encode_png(item.load().rgb), mime_type="image/png")
        assert set(item.references) == {"caption", "question", "ocr", "objects"}
        for task, references in item.references.items():
            reply = sdk.models.generate_content(model="truth-1.0", contents=[png, item.prompts[task]])
            assert reply.text == ", ".join(references)


def test_it_is_right_as_often_as_its_name_says_and_always_about_the_same() -> None:
    prompts = [f"How many in row {row}?" for row in range(1000)]
    taught = {("", prompt): "seven" for prompt in prompts}
    asks = [Ask("truth-0.8", prompt, None, "key", 0, taught) for prompt in prompts]
    answers = ["".join(step.pieces) for step in map(step_for, asks) if isinstance(step, Reply)]
    assert 750 <= answers.count("seven") <= 850 and set(answers) == {"seven", UNSURE}
    again = [replace(ask, earlier=9, key_digest="other") for ask in asks]
    assert answers == ["".join(step.pieces) for step in map(step_for, again) if isinstance(step, Reply)]


def ask_bare(server: VlmServer, model: str, times: int) -> list[int]:
    """Return how many events came each time, over one connection."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True})
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    events = []
    for _ in range(times):
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer k"})
        events.append(connection.getresponse().read().count(b"data: "))
    connection.close()
    return events


def test_twenty_slow_ones_at_once_and_a_thousand_quick_ones() -> None:
    with VlmServer() as server, ThreadPoolExecutor(20) as pool:
        barrier = threading.Barrier(20)

        def slow() -> list[int]:
            barrier.wait()
            return ask_bare(server, "slow", 1)

        started = time.perf_counter()
        asked = [pool.submit(slow) for _ in range(20)]
        # role, 20 pieces, why it ended, [DONE]
        assert [future.result() for future in asked] == [[23]] * 20
        assert time.perf_counter() - started < 10  # one after the other: 20 s
        assert server.most_at_once == 20
        server.reset()
        quick = [pool.submit(ask_bare, server, "echo", 250) for _ in range(4)]
        assert [future.result() for future in quick] == [[4] * 250] * 4
        assert [seen.number for seen in server.requests] == list(range(1, 1001))
        assert 1 <= server.most_at_once <= 4


def test_it_lets_go_of_silent_connections_when_it_ends() -> None:
    with VlmServer() as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(OPEN["gemini"](server.url, "k", 30.0).ask, "silent")
        while not server.requests:
            time.sleep(0.01)
        started = time.perf_counter()
        server.__exit__()
        with pytest.raises(httpx2.RemoteProtocolError):
            asked.result(timeout=5)
        assert time.perf_counter() - started < 2


def test_the_command_says_how_to_start_the_app() -> None:
    command = [sys.executable, "-m", "tests.support.vlm_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        head, hint, *_ = [process.stdout.readline() for _ in range(3)]
        url = head.split()[1].rstrip(".")
        assert f"VISION_BENCH_LOOPBACK_URL={url} streamlit run Home.py" in hint
        assert open_openai(url, "k", 5.0).models() == list(LISTED)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
