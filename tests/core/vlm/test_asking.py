"""A question with its attempts, asked of the loopback server by the real SDKs."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from core.images import from_rgb
from core.vlm.addresses import Addresses
from core.vlm.asking import CANCELLED, ask
from core.vlm.base import RETRIED, Answer, Outcome, Provider, Question
from core.vlm.keys import Keys
from core.vlm.providers import open_provider
from tests.support.raw_http import Came, RawServer, Says
from tests.support.vlm_server import SENTENCE, VlmServer

PICTURE = from_rgb(np.zeros((8, 8, 3), np.uint8), "black")


@pytest.fixture(scope="module")
def openai(running_vlm_server: VlmServer) -> Iterator[Provider]:
    provider = open_provider("openai", Keys(), Addresses(loopback=running_vlm_server.url))
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def together(running_vlm_server: VlmServer) -> Iterator[Provider]:
    provider = open_provider("together", Keys(), Addresses(loopback=running_vlm_server.url))
    yield provider
    provider.close()


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture
def at_raw(raw: RawServer) -> Iterator[Provider]:
    provider = open_provider("openai", Keys(), Addresses(loopback=raw.url))
    yield provider
    provider.close()


def never(seconds: float) -> None:
    raise AssertionError(f"it waited {seconds} seconds")


def asked(
    provider: Provider, model: str, *, sleep: Callable[[float], None] | None = never, **options: Any
) -> Answer:
    timeout_s = options.pop("timeout_s", 60.0)
    return ask(provider, model, Question(PICTURE, "What?", timeout_s=timeout_s), sleep=sleep, **options)


def outcomes(answer: Answer) -> list[Outcome]:
    return [attempt.outcome for attempt in answer.attempts]


def limited(seconds: float) -> Callable[[Came], Says]:
    return lambda came: Says(429, b"{}", {"Retry-After": f"{seconds:g}"})


OUTCOMES = {
    "ok": Outcome.OK,
    "http-400": Outcome.BAD_REQUEST,
    "http-401": Outcome.AUTH,
    "http-402": Outcome.QUOTA,
    "quota": Outcome.QUOTA,
    "http-404": Outcome.MODEL_GONE,
    "http-408": Outcome.TIMEOUT,
    "http-429": Outcome.RATE_LIMITED,
    "http-500": Outcome.SERVER_ERROR,
    "silent": Outcome.TIMEOUT,
    "stall": Outcome.TIMEOUT,
    "cut": Outcome.NETWORK,
    "malformed": Outcome.MALFORMED,
    "html": Outcome.MALFORMED,
    "error-midway": Outcome.SERVER_ERROR,
    "blocked-prompt": Outcome.BLOCKED,
    "blocked-answer": Outcome.BLOCKED,
    "refused": Outcome.REFUSED,
    "truncated": Outcome.TRUNCATED,
    "huge": Outcome.TRUNCATED,
    "empty": Outcome.EMPTY,
}


@pytest.mark.parametrize("behaviour", OUTCOMES)
def test_only_what_may_help_is_asked_again(behaviour: str, openai: Provider, vlm_server: VlmServer) -> None:
    waits: list[float] = []
    timeout_s = 0.1 if behaviour in ("silent", "stall") else 60.0
    answer = asked(openai, behaviour, sleep=waits.append, timeout_s=timeout_s)
    outcome = OUTCOMES[behaviour]
    times = 3 if outcome in RETRIED else 1
    assert (answer.model_id, answer.outcome) == (f"openai/{behaviour}", outcome)
    assert outcomes(answer) == [outcome] * times
    assert [attempt.number for attempt in answer.attempts] == [1, 2, 3][:times]
    assert len(waits) == times - 1
    asks = [seen for seen in vlm_server.requests if seen.model]
    # A request that timed out on a busy machine may not have reached the server.
    assert len(asks) == times or outcome is Outcome.TIMEOUT
    is_answer = outcome is Outcome.OK
    assert (answer.message == "", answer.remedy == "") == (is_answer, is_answer)
    assert all((attempt.message == "") == is_answer for attempt in answer.attempts)


def test_an_answer_after_failures_is_an_answer_with_three_attempts(
    openai: Provider, vlm_server: VlmServer
) -> None:
    waits: list[float] = []
    answer = asked(openai, "flaky-2", sleep=waits.append)
    assert (answer.outcome, answer.text, answer.message, answer.remedy) == (Outcome.OK, SENTENCE, "", "")
    assert outcomes(answer) == [Outcome.SERVER_ERROR, Outcome.SERVER_ERROR, Outcome.OK]
    assert [attempt.status for attempt in answer.attempts] == [503, 503, None]
    assert [attempt.request_id for attempt in answer.attempts] == ["req_1", "req_2", "req_3"]
    assert "overloaded" in answer.attempts[0].message
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 1.5


def test_the_number_of_attempts_is_the_callers(openai: Provider, vlm_server: VlmServer) -> None:
    assert asked(openai, "flaky-2", max_attempts=1).outcome is Outcome.SERVER_ERROR
    assert len(vlm_server.requests) == 1


def test_the_last_attempt_alone_is_the_latency(openai: Provider, vlm_server: VlmServer) -> None:
    answer = asked(openai, "flaky-1", sleep=lambda seconds: time.sleep(0.4))
    first, last = answer.attempts
    assert (first.wait_ms, last.wait_ms >= 400) == (0.0, True)
    assert answer.reply is not None
    assert answer.latency_ms == last.total_ms == answer.reply.total_ms
    assert last.ttft_ms == answer.reply.ttft_ms


def test_a_failed_attempt_tells_when_its_first_text_came(openai: Provider, vlm_server: VlmServer) -> None:
    answer = asked(openai, "stall", max_attempts=1, timeout_s=1.0)
    (attempt,) = answer.attempts
    assert attempt.ttft_ms is not None and attempt.ttft_ms < attempt.total_ms
    assert attempt.total_ms >= 1000
    assert (answer.text, answer.reply) == ("A", None)


def test_the_wait_is_the_servers(openai: Provider, vlm_server: VlmServer) -> None:
    waits: list[float] = []
    answer = asked(openai, "http-429", sleep=waits.append)
    assert waits == [0.05, 0.05]
    assert [(attempt.hint_s, attempt.status) for attempt in answer.attempts] == [(0.05, 429)] * 3
    waited = asked(openai, "http-429", sleep=None, max_attempts=2).attempts[1].wait_ms
    assert waited >= 50


def test_a_minute_is_waited_for_and_more_is_not(raw: RawServer, at_raw: Provider) -> None:
    waits: list[float] = []
    raw.says = limited(60)
    asked(at_raw, "m", sleep=waits.append)
    assert waits == [60.0, 60.0]
    for seconds, spoken in ((61, "2 minutes"), (600, "10 minutes"), (7200, "2.0 hours")):
        raw.says = limited(seconds)
        answer = asked(at_raw, "m")
        assert outcomes(answer) == [Outcome.RATE_LIMITED]
        assert answer.message.endswith(f" It asks to wait {spoken}.")
        assert answer.remedy == "Ask again after that time."


# Cancelling


def test_cancelled_before_the_first_attempt(openai: Provider, vlm_server: VlmServer) -> None:
    cancel = threading.Event()
    cancel.set()
    answer = asked(openai, "ok", cancel=cancel)
    assert (answer.outcome, answer.message, answer.attempts) == (Outcome.CANCELLED, CANCELLED, ())
    assert answer.latency_ms == 0 and vlm_server.requests == ()


def test_cancelled_during_an_attempt(openai: Provider, vlm_server: VlmServer) -> None:
    cancel = threading.Event()
    answer = asked(openai, "stall", cancel=cancel, on_text=lambda text: cancel.set())
    assert (outcomes(answer), answer.text) == ([Outcome.CANCELLED], "A")
    assert (answer.outcome, answer.message) == (Outcome.CANCELLED, CANCELLED)


def test_cancelled_during_a_wait(raw: RawServer, at_raw: Provider) -> None:
    cancel = threading.Event()

    def says(came: Came) -> Says:
        threading.Timer(1.0, cancel.set).start()
        return limited(50)(came)

    raw.says = says
    started = time.monotonic()
    answer = asked(at_raw, "m", cancel=cancel, sleep=None)
    assert time.monotonic() - started < 40
    assert (answer.outcome, answer.message, answer.remedy) == (Outcome.CANCELLED, CANCELLED, "")
    assert len(answer.attempts) == len(raw.came) == 1


def test_what_was_cancelled_after_a_failure_keeps_its_attempt(
    openai: Provider, vlm_server: VlmServer
) -> None:
    cancel = threading.Event()
    answer = asked(openai, "cut", cancel=cancel, sleep=lambda seconds: cancel.set())
    assert (answer.outcome, answer.text, outcomes(answer)) == (Outcome.CANCELLED, "A", [Outcome.NETWORK])
    assert len(vlm_server.requests) == 1


# What the caller sees on the way


def test_text_begins_anew_with_each_attempt(openai: Provider, vlm_server: VlmServer) -> None:
    seen: list[str] = []
    options = {"on_text": seen.append, "on_restart": lambda: seen.append("|"), "sleep": lambda seconds: None}
    assert asked(openai, "cut", **options).text == "A"
    assert "".join(seen) == "A|A|A"
    seen.clear()
    answer = asked(openai, "flaky-2", **options)
    assert answer.text == "".join(seen) == SENTENCE


def test_what_the_callers_sink_raises_is_raised(openai: Provider, vlm_server: VlmServer) -> None:
    def broken(text: str) -> None:
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        asked(openai, "ok", on_text=broken)
    assert len(vlm_server.requests) == 1


@pytest.mark.parametrize("name", ["openai", "together", "gemini", "compatible"])
def test_a_model_that_takes_no_temperature_is_asked_without_one_from_then_on(
    name: str, vlm_server: VlmServer
) -> None:
    provider = open_provider(name, Keys(), Addresses(loopback=vlm_server.url))
    model, waits = "ORG/own-temperature" if name == "together" else "own-temperature", list[float]()
    first, second = (asked(provider, model, sleep=waits.append) for _ in range(2))
    provider.close()
    assert (outcomes(first), outcomes(second)) == ([Outcome.BAD_REQUEST, Outcome.OK], [Outcome.OK])
    assert first.reply is not None and "takes no temperature" in first.reply.note
    assert (len(vlm_server.requests), waits) == (3, [0.0])


# Models that are gone


@pytest.mark.parametrize(("model", "kin"), [("truncatd", "truncated"), ("html-eror", "html-error")])
def test_a_model_that_is_gone_names_its_nearest_kin(
    model: str, kin: str, openai: Provider, together: Provider, vlm_server: VlmServer
) -> None:
    gone = asked(openai, model)
    assert gone.outcome is Outcome.MODEL_GONE
    assert gone.message.endswith(f" The nearest model that it offers is {kin}.")
    assert gone.remedy == "Choose another model from the list."
    assert f"is loopback/{kin}." in asked(together, f"loopback/{model}").message


def test_a_model_is_not_its_own_kin(openai: Provider, vlm_server: VlmServer) -> None:
    said = asked(openai, "http-404").message
    assert re.search(r"offers is http-(?!404)\d{3}\.$", said)


def test_without_kin_or_without_a_list_none_is_named(openai: Provider, vlm_server: VlmServer) -> None:
    assert "nearest" not in asked(openai, "zzzzzzzzzzzz").message
    vlm_server.listing = "http-503"
    answer = asked(openai, "truncatd")
    assert answer.outcome is Outcome.MODEL_GONE and "nearest" not in answer.message


def test_a_list_of_nonsense_does_not_hide_the_answer(raw: RawServer, at_raw: Provider) -> None:
    def says(came: Came) -> Says:
        listed = {"data": [{"id": None}, {"id": 5}, {}]}
        is_list = came.path.endswith("/models")
        return Says(
            200 if is_list else 404,
            json.dumps(
                listed if is_list else {"error": {"message": "The model `m` does not exist."}}
            ).encode(),
            {"Content-Type": "application/json"},
        )

    raw.says = says
    answer = asked(at_raw, "m")
    assert answer.outcome is Outcome.MODEL_GONE and "nearest" not in answer.message
