"""Remote providers by their real SDKs: what everything that a server may do comes to."""

import hashlib
import json
import logging
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError, SetupError
from core.images import ImageInput, from_rgb
from core.vlm.addresses import Addresses
from core.vlm.base import AttemptError, LiveModel, Outcome, Provider, Question, Reply, Usage
from core.vlm.keys import BLANK, KEY_VARIABLES, Keys
from core.vlm.providers import REMOTE, open_provider, streaming
from core.vlm.providers.failures import LONGEST, HttpFailure, hint_s
from tests.support.raw_http import Came, RawServer, Says
from tests.support.vlm_server import HOSTILE, LISTED, SENTENCE, SUCCESSOR, VlmServer, key_digest, pixel_digest

PICTURE = from_rgb(np.arange(12 * 20 * 3, dtype=np.uint8).reshape(12, 20, 3), "tiny.png")
OWN = {name: f"K{hashlib.sha256(name.encode()).hexdigest()[:24]}" for name in REMOTE}
"""A key for each, of which no part is a word that stands elsewhere."""
WORDS = len(SENTENCE.split())
CHAT = ("openai", "compatible", "together")


def keys_of(own: dict[str, str]) -> Keys:
    keys = Keys()
    for name, key in own.items():
        keys = keys.with_typed(name, key)
    return keys


def opened_at(url: str, own: dict[str, str] = OWN) -> dict[str, Provider]:
    return {name: open_provider(name, keys_of(own), Addresses(loopback=url)) for name in REMOTE}


@pytest.fixture(scope="module")
def at_server(running_vlm_server: VlmServer) -> Iterator[dict[str, Provider]]:
    """All remote providers, spoken to at the loopback server."""
    opened = opened_at(running_vlm_server.url)
    yield opened
    for one in opened.values():
        one.close()


@pytest.fixture(scope="module")
def running_raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture
def raw(running_raw: RawServer) -> RawServer:
    """A server that says what no service says."""
    running_raw.came.clear()
    return running_raw


@pytest.fixture(scope="module")
def at_raw(running_raw: RawServer) -> Iterator[dict[str, Provider]]:
    """All remote providers, spoken to there."""
    opened = opened_at(running_raw.url)
    yield opened
    for one in opened.values():
        one.close()


@pytest.fixture(params=REMOTE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def provider(name: str, at_server: dict[str, Provider], vlm_server: VlmServer) -> Provider:
    return at_server[name]


def named(provider: Provider, behaviour: str) -> str:
    return f"loopback/{behaviour}" if provider.name == "together" else behaviour


def nothing(text: str) -> None:
    pass


def asked(
    provider: Provider,
    behaviour: str,
    *,
    image: ImageInput = PICTURE,
    prompt: str = "What is it?",
    on_text: Callable[[str], None] = nothing,
    cancelled: Callable[[], bool] = lambda: False,
    timeout_s: float = 60.0,
    **options: Any,
) -> Reply:
    question = Question(image, prompt, **{"max_tokens": 99, "timeout_s": timeout_s, **options})
    return provider.attempt(named(provider, behaviour), question, on_text, cancelled)


def failed(provider: Provider, behaviour: str, **options: Any) -> AttemptError:
    with pytest.raises(AttemptError) as caught:
        asked(provider, behaviour, **options)
    error = caught.value
    assert error.message and error.remedy and error.message[-1] in ".!?…"
    assert OWN[provider.name] not in str(error)
    return error


def until(true: Callable[[], bool]) -> None:
    """Wait for what happens in another thread."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_idle(server: VlmServer) -> bool:
    """Whether no question is being answered."""
    server.reset()
    return server.most_at_once == 0


# Answers


def test_an_answer(provider: Provider, vlm_server: VlmServer) -> None:
    pieces: list[str] = []
    threads: set[int] = set()

    def take(text: str) -> None:
        pieces.append(text)
        threads.add(threading.get_ident())

    before = time.perf_counter()
    reply = asked(provider, "ok", on_text=take)
    took_ms = (time.perf_counter() - before) * 1e3
    assert (reply.outcome, reply.text, reply.message, reply.note) == (Outcome.OK, SENTENCE, "", "")
    assert "".join(pieces) == SENTENCE and len(pieces) == WORDS and threads == {threading.get_ident()}
    assert (reply.finish.lower(), reply.returned_model) == ("stop", named(provider, "ok"))
    assert reply.ttft_ms is not None and 0 < reply.ttft_ms <= reply.total_ms <= took_ms
    assert reply.request_id and reply.load_ms == 0 and provider.is_loopback
    (seen,) = vlm_server.requests
    assert (seen.prompt, seen.key_digest) == ("What is it?", key_digest(OWN[provider.name]))
    assert seen.sent.stream and seen.picture is not None and seen.picture.digest == pixel_digest(PICTURE.rgb)


def test_the_options_that_each_api_knows(provider: Provider, vlm_server: VlmServer) -> None:
    asked(provider, "ok")
    asked(provider, "ok", temperature=None, max_tokens=7)
    first, second = (seen.sent.options for seen in vlm_server.requests)
    if provider.name == "gemini":
        assert first["generationConfig"] == {"temperature": 0.0, "maxOutputTokens": 99}
        assert second["generationConfig"] == {"maxOutputTokens": 7}
    else:
        limit = "max_completion_tokens" if provider.name == "openai" else "max_tokens"
        assert (first[limit], first["temperature"]) == (99, 0.0)
        assert second[limit] == 7 and "temperature" not in second


TOKENS = {
    "ok": {"gemini": Usage(261, 258, None, WORDS, None), "together": Usage(261, None, 0, WORDS, None)},
    "counted": {"gemini": Usage(261, 258, 128, WORDS + 7, 7)},
    "cached": {
        "gemini": Usage(261, 258, 128, WORDS, None),
        "together": Usage(261, None, 128, WORDS, None),
    },
}
CHAT_TOKENS = {
    "ok": Usage(261, None, 0, WORDS, 0),
    "counted": Usage(261, None, 128, WORDS + 7, 7),
    "cached": Usage(261, None, 128, WORDS, 0),
}


@pytest.mark.parametrize("behaviour", TOKENS)
def test_tokens_by_kind(behaviour: str, provider: Provider) -> None:
    usage = asked(provider, behaviour).usage
    assert usage == TOKENS[behaviour].get(provider.name, CHAT_TOKENS[behaviour])


def test_another_model_answers_and_is_named(provider: Provider) -> None:
    assert asked(provider, "other-model").returned_model == SUCCESSOR


def test_text_of_any_kind_comes_unchanged(provider: Provider) -> None:
    assert asked(provider, "hostile").text == "".join(HOSTILE)
    assert asked(provider, "formula").text.startswith("=HYPERLINK(")
    prompt = 'Zwei  Wörter,\n"Zitat" und \u202e\u4f60\u597d '
    assert asked(provider, "echo", prompt=prompt).text == prompt


def test_the_time_to_the_first_token_is_the_models(provider: Provider) -> None:
    reply = asked(provider, "delay-100")
    assert reply.ttft_ms is not None and 100 <= reply.ttft_ms <= reply.total_ms


def test_slow_pieces_are_handed_on_as_they_come(at_server: dict[str, Provider]) -> None:
    def slow(provider: Provider) -> tuple[Reply, list[float]]:
        at: list[float] = []
        return asked(provider, "slow", on_text=lambda _: at.append(time.perf_counter())), at

    with ThreadPoolExecutor() as pool:
        for reply, at in pool.map(slow, at_server.values()):
            assert reply.outcome is Outcome.OK and len(at) == 20
            assert at[-1] - at[0] >= 0.5
            assert reply.ttft_ms is not None and reply.total_ms - reply.ttft_ms >= 500


def test_ten_megabytes_are_read_up_to_a_limit(provider: Provider) -> None:
    reply = asked(provider, "huge")
    assert (reply.outcome, len(reply.text)) == (Outcome.TRUNCATED, streaming.MAX_CHARACTERS)
    assert reply.message == "The answer passed 2,000,000 characters; the rest was not read."


def test_a_picture_over_the_limit_is_made_smaller_and_said(provider: Provider, vlm_server: VlmServer) -> None:
    wide = from_rgb(np.zeros((10, 3000, 3), np.uint8), "wide")
    reply, (seen,) = asked(provider, "ok", image=wide), vlm_server.requests
    assert seen.picture is not None
    is_whole = provider.name == "gemini"
    assert seen.picture.width == (3000 if is_whole else 2048)
    assert is_whole or reply.note.startswith("The picture was made smaller, from 3000 x 10")


# No answers, by the protocol


BLOCKED = {"blocked-answer": "SAFETY", "safety": "SAFETY", "recitation": "RECITATION"}


@pytest.mark.parametrize("behaviour", [*BLOCKED, "blocked-prompt"])
def test_what_a_filter_withholds(behaviour: str, provider: Provider) -> None:
    if behaviour == "blocked-prompt" and provider.name in ("openai", "compatible"):
        error = failed(provider, behaviour)
        assert (error.outcome, error.status) == (Outcome.BLOCKED, 400)
        return
    reply = asked(provider, behaviour)
    assert reply.outcome is Outcome.BLOCKED
    assert reply.text == ("A red star lies on " if behaviour == "blocked-answer" else "")
    assert (reply.ttft_ms is None) == (reply.text == "")
    gemini = BLOCKED.get(behaviour, "prompt SAFETY")
    assert reply.finish == (gemini if provider.name == "gemini" else "content_filter")
    assert reply.message.endswith(f"withheld it: {reply.finish}.")
    assert reply.usage.input_tokens == 261


def test_a_refusal(provider: Provider) -> None:
    reply = asked(provider, "refused")
    if provider.name == "gemini":
        assert (reply.outcome, reply.finish, reply.text) == (Outcome.BLOCKED, "PROHIBITED_CONTENT", "")
    else:
        assert (reply.outcome, reply.text) == (Outcome.REFUSED, "I cannot help with that.")
        assert reply.message == "The model declined to answer."


ENDS = {
    "truncated": (
        Outcome.TRUNCATED,
        "A red star lies on a ",
        "The answer was cut at the limit of 99 tokens.",
        None,
    ),
    "thinking": (
        Outcome.TRUNCATED,
        "",
        "There is no answer, all of it went into thinking (64 tokens): it was cut at the limit of 99 tokens.",
        64,
    ),
    "empty": (Outcome.EMPTY, "", "The model ended without saying anything.", None),
    "reasoning-only": (
        Outcome.EMPTY,
        "",
        "The model ended without saying anything, all of it went into thinking (7 tokens).",
        7,
    ),
}


@pytest.mark.parametrize("behaviour", ENDS)
def test_ends_without_a_whole_answer(behaviour: str, provider: Provider) -> None:
    reply = asked(provider, behaviour)
    outcome, text, message, thinking = ENDS[behaviour]
    assert (reply.outcome, reply.text, reply.message) == (outcome, text, message)
    assert (reply.usage.reasoning_tokens or None) == thinking
    assert (reply.ttft_ms is None) == (not text) and reply.total_ms > 0


# Failures


STATUSES = {
    "http-400": (Outcome.BAD_REQUEST, 400),
    "http-401": (Outcome.AUTH, 401),
    "bad-key": (Outcome.AUTH, 401),
    "http-402": (Outcome.QUOTA, 402),
    "quota": (Outcome.QUOTA, 429),
    "http-403": (Outcome.AUTH, 403),
    "http-404": (Outcome.MODEL_GONE, 404),
    "no-such-model": (Outcome.MODEL_GONE, 404),
    "http-408": (Outcome.TIMEOUT, 408),
    "http-429": (Outcome.RATE_LIMITED, 429),
    "http-429-hard": (Outcome.RATE_LIMITED, 429),
    "http-500": (Outcome.SERVER_ERROR, 500),
    "html-error": (Outcome.SERVER_ERROR, 502),
    "http-503": (Outcome.SERVER_ERROR, 503),
    "http-504": (Outcome.SERVER_ERROR, 504),
    "flaky-1": (Outcome.SERVER_ERROR, 503),
}
OWN_STATUSES = {
    ("gemini", "bad-key"): (Outcome.AUTH, 400),
    ("together", "quota"): (Outcome.QUOTA, 402),
    ("together", "http-403"): (Outcome.BAD_REQUEST, 403),  # its context is too long
}
HINTS = {"http-429": 0.05, "http-429-hard": 3600.0}


@pytest.mark.parametrize("behaviour", STATUSES)
def test_statuses(behaviour: str, provider: Provider, vlm_server: VlmServer) -> None:
    error = failed(provider, behaviour)
    expected = OWN_STATUSES.get((provider.name, behaviour), STATUSES[behaviour])
    assert (error.outcome, error.status, error.partial) == (*expected, "")
    assert f"refused with status {error.status}: " in error.message
    # Gemini names a wait of seconds beside a spent daily quota too.
    is_daily = (provider.name, behaviour) == ("gemini", "quota")
    assert error.hint_s == (37.0 if is_daily else HINTS.get(behaviour))
    assert error.request_id == ("" if behaviour == "html-error" else "req_1")
    assert len(vlm_server.requests) == 1  # the SDK did not try again


def test_remedies_name_what_a_person_can_do(provider: Provider) -> None:
    auth = failed(provider, "bad-key").remedy
    assert all(variable in auth for variable in KEY_VARIABLES[provider.name])
    assert "another model" in failed(provider, "http-404").remedy
    assert "limit" in failed(provider, "quota").remedy
    assert "web page" in failed(provider, "html-error").message


BROKEN = {
    "cut": (Outcome.NETWORK, "A"),
    "malformed": (Outcome.MALFORMED, "A"),
    "error-midway": (Outcome.SERVER_ERROR, "A"),
    "html": (Outcome.MALFORMED, ""),
}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_answers_that_break_off(behaviour: str, provider: Provider, vlm_server: VlmServer) -> None:
    pieces: list[str] = []
    error = failed(provider, behaviour, on_text=pieces.append)
    assert (error.outcome, error.partial) == BROKEN[behaviour]
    assert "".join(pieces) == error.partial
    assert bool(error.request_id) == bool(error.partial)
    assert len(vlm_server.requests) == 1


@pytest.mark.parametrize(("behaviour", "partial", "timeout_s"), [("stall", "A", 0.7), ("silent", "", 0.15)])
def test_a_silent_server_is_left_at_the_time_limit(
    behaviour: str, partial: str, timeout_s: float, provider: Provider, vlm_server: VlmServer
) -> None:
    started = time.perf_counter()
    error = failed(provider, behaviour, timeout_s=timeout_s)
    assert timeout_s <= time.perf_counter() - started < timeout_s + 10
    assert (error.outcome, error.partial) == (Outcome.TIMEOUT, partial)
    assert error.message.endswith(f"within {timeout_s:g} seconds.")
    until(lambda: is_idle(vlm_server))


def test_every_behaviour_of_the_server_is_tried_here() -> None:
    tried = {*STATUSES, *BROKEN, *BLOCKED, *ENDS, *TOKENS, "blocked-prompt", "refused", "stall", "silent"}
    tried |= {"slow", "huge", "hostile", "formula", "other-model", "echo", "delay-100"}
    tried |= {"own-temperature"}  # in test_asking.py: it takes two attempts
    assert {model for model in LISTED if not model.startswith(("truth-", "delay-", "flaky-"))} <= tried


def test_nobody_is_there(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    provider = open_provider(name, keys_of(OWN), Addresses(loopback=f"http://127.0.0.1:{port}"))
    error = failed(provider, "ok")
    assert (error.outcome, error.status) == (Outcome.NETWORK, None)
    assert error.message.endswith("cannot be reached.")
    provider.close()


# Cancelling


def test_cancelled_while_the_server_is_silent(provider: Provider, vlm_server: VlmServer) -> None:
    started = time.perf_counter()
    reply = asked(provider, "silent", cancelled=lambda: bool(vlm_server.requests))
    assert time.perf_counter() - started < 10
    assert (reply.outcome, reply.text, reply.ttft_ms) == (Outcome.CANCELLED, "", None)
    assert reply.message
    until(lambda: is_idle(vlm_server))


def test_cancelled_between_two_pieces(provider: Provider, vlm_server: VlmServer) -> None:
    pieces: list[str] = []
    reply = asked(provider, "slow", on_text=pieces.append, cancelled=lambda: len(pieces) == 2)
    assert reply.outcome is Outcome.CANCELLED and reply.text.startswith("piece01 piece02 ")
    assert reply.ttft_ms is not None and reply.ttft_ms <= reply.total_ms
    assert "piece20" not in reply.text
    until(lambda: is_idle(vlm_server))


def test_cancelled_before_it_is_sent(provider: Provider, vlm_server: VlmServer) -> None:
    assert asked(provider, "ok", cancelled=lambda: True).outcome is Outcome.CANCELLED
    assert vlm_server.requests == ()


def test_a_sink_that_fails_ends_the_request(provider: Provider, vlm_server: VlmServer) -> None:
    def full(text: str) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        asked(provider, "stall", on_text=full)
    until(lambda: is_idle(vlm_server))


# What no service says


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(
    status: int, name: str, raw: RawServer, at_raw: dict[str, Provider], vlm_server: VlmServer
) -> None:
    raw.says = lambda came: Says(status, headers={"Location": f"{vlm_server.url}{came.path}"})
    error = failed(at_raw[name], "ok")
    assert (error.outcome, error.status) == (Outcome.BAD_REQUEST, status)
    assert error.message.endswith("it sends on to another address.")
    assert ("VISION_BENCH_VLM_URL" in error.remedy) == (name == "compatible")
    with pytest.raises(AttemptError, match="another address"):
        at_raw[name].models()
    assert vlm_server.requests == () and len(raw.came) == 2


DEEP = "[" * 5000 + "]" * 5000
BODIES = [
    b"",
    b"[]",
    b"null",
    b"5",
    b'"text"',
    b"\xff\xfe\x00",
    DEEP.encode(),
    b'{"error": null}',
    b'{"error": []}',
    b'{"error": {"message": {"a": 1}, "code": ["x"], "details": "y"}}',
    b'{"error": {"message": "\\u202e\\u0000", "details": [null, 5, {"retryDelay": 5, "reason": {}}]}}',
    b"many words " * 100_000,
]


def test_odd_bodies_of_errors(name: str, raw: RawServer, at_raw: dict[str, Provider]) -> None:
    for body in BODIES:
        raw.says = lambda came, body=body: Says(429, body)  # type: ignore[misc]
        error = failed(at_raw[name], "ok")
        assert error.outcome in (Outcome.RATE_LIMITED, Outcome.MALFORMED)
        assert error.hint_s is None and len(error.message) < LONGEST + 100
        assert "\u202e" not in error.message


def both(choice: dict[str, Any], candidate: Any, **more: Any) -> str:
    """Return one event in both wire formats."""
    return json.dumps({"choices": [choice], "candidates": [candidate], **more})


HI = {"delta": {"content": "hi"}, "finish_reason": "stop"}
HELLO = {"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}
EVENTS = [
    "null",
    "[]",
    "5",
    '"x"',
    "{}",
    DEEP,
    '{"choices": "x", "candidates": "x"}',
    '{"choices": [null], "candidates": [null]}',
    '{"choices": [5], "candidates": [5]}',
    both({"delta": {"content": 5}}, {"content": {"parts": [{"text": 5}]}}),
    both({"delta": None, "finish_reason": 7}, {"content": None, "finishReason": 7}),
    both({"delta": {"content": ["a"]}}, {"content": {"parts": "a"}}),
    '{"error": "out of memory"}',
    '{"error": 5}',
    '{"error": []}',
    '{"error": {"code": "503", "message": "m"}}',
    '{"error": {"code": 99999, "message": "m"}}',
]


def sse(event: str) -> Says:
    return Says(200, f"data: {event}\n\n".encode(), {"Content-Type": "text/event-stream"})


@pytest.mark.parametrize(
    "encoding", [{}, {"Content-Encoding": "gzip"}, {"Content-Type": "text/plain; charset=x"}]
)
def test_odd_events(encoding: dict[str, str], name: str, raw: RawServer, at_raw: dict[str, Provider]) -> None:
    for event in EVENTS:
        said = sse(event)
        raw.says = lambda came, said=said: Says(200, said.body, {**said.headers, **encoding})  # type: ignore[misc]
        error = failed(at_raw[name], "ok")
        assert error.outcome in (Outcome.MALFORMED, Outcome.NETWORK, Outcome.SERVER_ERROR)


def test_an_error_in_mid_stream_that_is_a_text(raw: RawServer, at_raw: dict[str, Provider]) -> None:
    raw.says = lambda came: sse('{"error": "the runner ran out of memory"}')
    for name in CHAT:
        error = failed(at_raw[name], "ok")
        assert error.outcome is Outcome.SERVER_ERROR
        assert error.message.endswith("broke off: the runner ran out of memory.")


@pytest.mark.filterwarnings("ignore:NEW_ONE is not a valid:UserWarning")
def test_a_new_reason_to_withhold_is_one(raw: RawServer, at_raw: dict[str, Provider]) -> None:
    raw.says = lambda came: sse(both({}, {**HELLO, "finishReason": "NEW_ONE"}))
    reply = asked(at_raw["gemini"], "ok")
    assert (reply.outcome, reply.finish, reply.text) == (Outcome.BLOCKED, "NEW_ONE", "hi")


@pytest.mark.parametrize("count", [-1, 10**30])
def test_no_such_count_is_no_count(
    count: int, name: str, raw: RawServer, at_raw: dict[str, Provider]
) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 3}
    gemini = {"promptTokenCount": count, "candidatesTokenCount": 3}
    raw.says = lambda came: sse(both(HI, HELLO, usage=usage, usageMetadata=gemini))
    assert asked(at_raw[name], "ok").usage == Usage(output_tokens=3)


def test_names_have_an_end(name: str, raw: RawServer, at_raw: dict[str, Provider]) -> None:
    long = "m" * 100_000
    event = both(HI, HELLO, model=long, modelVersion=long, id=long, responseId=long)
    raw.says = lambda came: sse(event)
    reply = asked(at_raw[name], "ok")
    assert (reply.outcome, reply.text) == (Outcome.OK, "hi")
    assert {len(reply.returned_model), len(reply.request_id)} == {streaming.LONGEST_ID}


def test_a_body_that_is_cut(name: str, raw: RawServer, at_raw: dict[str, Provider]) -> None:
    raw.says = lambda came: Says(200, b"data: {", {"Content-Type": "text/event-stream"}, cuts=True)
    assert failed(at_raw[name], "ok").outcome in (Outcome.NETWORK, Outcome.MALFORMED)
    raw.says = lambda came: Says(503, b'{"error"', cuts=True)
    assert failed(at_raw[name], "ok").outcome in (Outcome.NETWORK, Outcome.SERVER_ERROR)


# Hints


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"}, 0.0),
    ],
)
def test_hints_in_headers(
    headers: dict[str, str], seconds: float | None, raw: RawServer, at_raw: dict[str, Provider]
) -> None:
    raw.says = lambda came: Says(429, b"{}", headers)
    assert [failed(at_raw[name], "ok").hint_s for name in CHAT] == [seconds] * 3


def test_a_hint_may_be_a_date() -> None:
    due = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (hint_s(HttpFailure(429, {}, {"Retry-After": due})) or 0) <= 30


@pytest.mark.parametrize(
    ("delay", "seconds"), [("37s", 37.0), ("0.5s", 0.5), ("9" * 400 + "s", None), ("-1s", None), ("٣s", None)]
)
def test_hints_in_the_body(delay: str, seconds: float | None) -> None:
    assert hint_s(HttpFailure(429, {"error": {"details": [{"retryDelay": delay}]}})) == seconds


NEARLY_DATES = st.from_regex(
    r"(Mon, )?\d{1,3} (Jan|Feb) -?\d{1,6} \d{1,3}:\d{1,3}(:\d{1,3})? ([+-]\d{1,6}|GMT)?", fullmatch=True
)


@given(st.one_of(st.text(max_size=30), NEARLY_DATES))
def test_no_header_breaks_the_reading_of_hints(text: str) -> None:
    found = hint_s(HttpFailure(429, {}, {"Retry-After": text, "Retry-After-Ms": text}))
    assert found is None or found >= 0


# Models


def test_models_on_offer(provider: Provider, vlm_server: VlmServer) -> None:
    listed = provider.models()
    assert [model.id for model in listed] == [named(provider, behaviour) for behaviour in LISTED]
    has_titles = provider.name in ("gemini", "together")
    assert listed[0] == LiveModel(
        named(provider, "ok"),
        "Loopback ok" if has_titles else "",
        True if provider.name == "together" else None,
    )
    assert {seen.key_digest for seen in vlm_server.requests} == {key_digest(OWN[provider.name])}


@pytest.mark.parametrize("behaviour", ["http-401", "http-429", "http-503", "html", "html-error"])
def test_lists_that_fail(behaviour: str, provider: Provider, vlm_server: VlmServer) -> None:
    vlm_server.listing = behaviour
    with pytest.raises(AttemptError) as caught:
        provider.models()
    expected = STATUSES.get(behaviour, (Outcome.MALFORMED, None))
    assert (caught.value.outcome, caught.value.status) == expected
    assert caught.value.remedy


def test_a_list_that_never_comes(
    provider: Provider, vlm_server: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "LISTING_S", 0.1)
    vlm_server.listing = "silent"
    with pytest.raises(AttemptError, match="did not list its models"):
        provider.models()


def test_odd_lists(name: str, raw: RawServer, at_raw: dict[str, Provider]) -> None:
    odd: list[Any] = [None, {}, {"id": 5, "name": 5}, {"id": None, "name": None}, "x"]
    bodies = [{"data": [one], "models": [one]} for one in odd]
    for body in [*bodies, {"data": None, "models": None}, {"data": "x", "models": "x"}, [], None]:
        raw.says = lambda came, body=body: Says(  # type: ignore[misc]
            200, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            assert at_raw[name].models() == ()
        except AttemptError as error:
            assert error.outcome is Outcome.MALFORMED


def test_together_offers_what_sees_and_can_be_asked_at_once(
    raw: RawServer, at_raw: dict[str, Provider]
) -> None:
    def model(name: str, endpoint: str | None, *takes: str) -> dict[str, Any]:
        return {"name": name, "serverlessEndpoint": endpoint, "inputModalities": takes}

    sees, text = "MODALITY_IMAGE", "MODALITY_TEXT"
    listed = [model("a/sees", "e", text, sees), model("a/blind", "e", text), model("a/rented", None, sees)]
    raw.says = lambda came: Says(
        200, json.dumps({"data": listed}).encode(), {"Content-Type": "application/json"}
    )
    assert at_raw["together"].models() == (LiveModel("a/sees", "", True),)


# Keys


def test_a_key_goes_into_its_header_and_nowhere_else(
    name: str, raw: RawServer, at_raw: dict[str, Provider]
) -> None:
    raw.says = lambda came: Says(503)
    failed(at_raw[name], "ok")
    with pytest.raises(AttemptError):
        at_raw[name].models()
    header, value = ("x-goog-api-key", "{}") if name == "gemini" else ("authorization", "Bearer {}")
    assert len(raw.came) == 2
    for came in raw.came:
        assert came.headers.pop(header) == value.format(OWN[name])
        rest = f"{came.path} {came.headers} {came.body!r}"
        assert not any(key in rest for key in OWN.values())


ECHOES = {
    "said": "You sent {}, which is wrong.",
    "cut": "x" * (LONGEST - 10) + "{}",
    "page": "<html>{}</html>",
    "header": "Bearer {}",
}


def echo(came: Came, said: str, status: int | None) -> Says:
    """Return an error that quotes the key: with a status, or in the middle of a stream."""
    key = came.headers.get("x-goog-api-key") or came.headers["authorization"].removeprefix("Bearer ")
    text = said.format(key)
    error = {"error": {"code": 401, "message": text, "details": [{"reason": text}]}}
    if status is None:
        return sse(json.dumps(error))
    return Says(status, text.encode() if text.startswith("<") else json.dumps(error).encode())


@pytest.mark.parametrize("echoed", ECHOES)
@pytest.mark.parametrize("status", [401, 500, None])
def test_a_key_that_the_server_quotes_is_in_no_error_no_log_and_no_traceback(
    echoed: str,
    status: int | None,
    name: str,
    raw: RawServer,
    at_raw: dict[str, Provider],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    raw.says = lambda came: echo(came, ECHOES[echoed], status)
    for call in (lambda: asked(at_raw[name], "ok"), at_raw[name].models):
        with pytest.raises(AttemptError) as caught:
            call()
        logging.getLogger("app").exception("failed", exc_info=caught.value)
        shown = f"{caught.value!r} {vars(caught.value)} {''.join(traceback.format_exception(caught.value))}"
        for start in range(0, len(OWN[name]) - 6):
            assert OWN[name][start : start + 7] not in shown + caplog.text
        assert echoed != "said" or BLANK in caught.value.message or caught.value.status is None


@pytest.mark.parametrize(
    "variable", ["OPENAI_ADMIN_KEY", "OPENAI_API_KEY", "TOGETHER_API_KEY", "GEMINI_API_KEY"]
)
def test_no_other_key_of_the_environment_is_sent(
    variable: str, vlm_server: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "sk-of-somebody-else")
    for name, opened in opened_at(vlm_server.url).items():
        asked(opened, "ok")
        assert vlm_server.requests[-1].key_digest == key_digest(OWN[name])


def test_a_key_in_place_of_a_model_is_blanked(provider: Provider) -> None:
    error = failed(provider, OWN[provider.name])
    assert error.outcome is Outcome.MODEL_GONE and BLANK in error.message


@pytest.mark.parametrize("missing", ["gemini", "openai", "together"])
def test_a_missing_key_is_one_sentence(missing: str) -> None:
    with pytest.raises(SetupError) as caught:
        open_provider(missing, Keys(), Addresses())
    assert caught.value.message.startswith("There is no key of ") and caught.value.message.count(".") == 1
    assert all(variable in caught.value.remedy for variable in KEY_VARIABLES[missing])


def test_a_missing_package_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"gemini": "google.genai", "together": "together"}.get(name, "openai")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError) as caught:
        open_provider(name, keys_of(OWN), Addresses("http://127.0.0.1:9/v1"))
    assert caught.value.message.endswith("which is not installed.")
    assert caught.value.remedy == f"Run: pip install {package.replace('google.', 'google-')}"


def test_a_missing_address_and_an_unknown_provider() -> None:
    with pytest.raises(SetupError, match="VISION_BENCH_VLM_URL"):
        open_provider("compatible", keys_of(OWN), Addresses())
    with pytest.raises(InputError, match=r"no provider 'closedai'.*gemini, openai"):
        open_provider("closedai", Keys(), Addresses())


def test_a_compatible_server_may_need_no_key(raw: RawServer) -> None:
    raw.says = lambda came: sse(both(HI, HELLO))
    provider = open_provider("compatible", Keys(), Addresses(f"{raw.url}/v1"))
    assert asked(provider, "ok").outcome is Outcome.OK and not provider.is_loopback
    (came,) = raw.came
    assert came.path == "/v1/chat/completions" and came.headers["authorization"] == "Bearer none"
    provider.close()


def test_a_wrong_address_of_a_compatible_server_is_not_a_model_that_is_gone(
    raw: RawServer, at_raw: dict[str, Provider]
) -> None:
    raw.says = lambda came: Says(404, b"404 page not found")
    error = failed(at_raw["compatible"], "ok")
    assert error.outcome is Outcome.BAD_REQUEST and "/v1" in error.remedy


def test_a_typed_key_counts_and_not_the_environments(
    name: str, vlm_server: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (one for names in KEY_VARIABLES.values() for one in names):
        monkeypatch.setenv(variable, "key-of-the-environment")
    provider = open_provider(name, keys_of(OWN), Addresses(loopback=vlm_server.url))
    assert asked(provider, f"key-{key_digest(OWN[name])}").outcome is Outcome.OK
    assert [seen.key_digest for seen in vlm_server.requests] == [key_digest(OWN[name])]
    provider.close()


def test_two_sessions_at_once_never_swap_their_keys(vlm_server: VlmServer) -> None:
    """Each asks for a model that only its own key may ask, and its prompts say whose they are."""
    sessions = {who: {name: f"{key}-of-{who}" for name, key in OWN.items()} for who in ("ada", "bob")}
    opened = {who: opened_at(vlm_server.url, own) for who, own in sessions.items()}
    barrier = threading.Barrier(2 * len(REMOTE))

    def ask_often(who: str, name: str) -> set[Outcome]:
        barrier.wait()
        model = f"key-{key_digest(sessions[who][name])}"
        return {asked(opened[who][name], model, prompt=f"{who} {name}").outcome for _ in range(12)}

    with ThreadPoolExecutor(2 * len(REMOTE)) as pool:
        found = [pool.submit(ask_often, who, name) for who in sessions for name in REMOTE]
        assert [future.result() for future in found] == [{Outcome.OK}] * 8
    assert len(vlm_server.requests) == 2 * 12 * len(REMOTE)
    for seen in vlm_server.requests:
        who, name = seen.prompt.split()
        assert seen.key_digest == key_digest(sessions[who][name])
    with pytest.raises(AttemptError) as caught:
        asked(opened["ada"]["openai"], f"key-{key_digest(sessions['bob']['openai'])}")
    assert caught.value.outcome is Outcome.AUTH
    for providers in opened.values():
        for provider in providers.values():
            provider.close()
