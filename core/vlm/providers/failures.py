"""What went wrong at a remote provider, as one class of outcome and one sentence, whichever SDK raised it.

Statuses and error bodies as the services document them, and as their SDKs raised them in October 2026:
https://ai.google.dev/gemini-api/docs/troubleshooting, https://platform.openai.com/docs/guides/error-codes,
https://docs.together.ai/docs/error-codes.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from core.vlm.base import AttemptError, Outcome
from core.vlm.keys import KEY_VARIABLES, TITLES

LONGEST = 300
"""Characters of a provider's own words that are passed on."""
_BY_STATUS = {
    401: Outcome.AUTH,
    402: Outcome.QUOTA,
    403: Outcome.AUTH,
    404: Outcome.MODEL_GONE,
    408: Outcome.TIMEOUT,
    429: Outcome.RATE_LIMITED,
}
_BY_WORD = {
    "API_KEY_INVALID": Outcome.AUTH,
    "API_KEY_EXPIRED": Outcome.AUTH,
    "FAILED_PRECONDITION": Outcome.AUTH,  # Gemini: not from this country, or not without billing
    "insufficient_quota": Outcome.QUOTA,
    "billing_not_active": Outcome.QUOTA,
    "billing_hard_limit_reached": Outcome.QUOTA,
    "credit_limit": Outcome.QUOTA,
    "invalid_api_key": Outcome.AUTH,
    "model_not_found": Outcome.MODEL_GONE,
    "model_not_available": Outcome.MODEL_GONE,
    "content_policy_violation": Outcome.BLOCKED,
    "content_filter": Outcome.BLOCKED,
    "context_length_exceeded": Outcome.BAD_REQUEST,
}
"""Codes, types and reasons in an error's body that say more than its status."""
_DAILY = re.compile(r"PerDay|\bper day\b|\(RPD\)|\(TPD\)")
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What SDKs raise on a body that they did not expect."""
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_CONNECTION = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
_TOO_SLOW = {"ReadTimeout", "WriteTimeout", "APITimeoutError"}
_CUT = {"TransportError", "APIConnectionError", "EndOfStream", "SSLError"}
_CODED = {"DecodingError", "TooManyRedirects"}


@dataclass(frozen=True, slots=True)
class HttpFailure:
    """An HTTP response that is an error, whichever library brought it."""

    status: int | None
    """None for an error in the middle of a stream that names none."""
    body: object
    """Parsed where it is JSON; text otherwise."""
    headers: Mapping[str, str] = field(default_factory=dict)


def failure_of(
    error: Exception, provider: str, masked: Callable[[str], str], partial: str = "", request_id: str = ""
) -> AttemptError:
    """Return what an SDK's error means; an error that no server and no network can cause is raised as it is.

    Args:
        masked: Blanks keys in a text.
        partial: Text that had come by then.
    """
    if isinstance(error, AttemptError):
        return error
    who, http = speaker(provider), _http(error)
    if http is not None:
        return _of_status(http, provider, masked, partial, request_id)
    names = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
    if names & _NO_CONNECTION:
        outcome, what = Outcome.NETWORK, f"{who} cannot be reached."
    elif names & _TOO_SLOW:
        outcome, what = Outcome.TIMEOUT, f"{who} took too long to answer."
    elif names & _CODED or isinstance(error, _UNREADABLE):
        outcome, what = Outcome.MALFORMED, f"{who} sent something that is no answer."
    elif names & _CUT:
        outcome, what = Outcome.NETWORK, f"{who} cut the connection."
    else:
        raise error
    return AttemptError(outcome, what, remedy(outcome, provider), partial=partial, request_id=request_id)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _http(error: Exception) -> HttpFailure | None:
    """Return the response that an SDK's error stands for; None where there was none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    if hasattr(error, "details") and isinstance(status := getattr(error, "code", None), int):
        return HttpFailure(status, error.details, headers)  # google-genai
    if isinstance(status := getattr(error, "status_code", None), int):
        return HttpFailure(status, _json(error.response.text), headers)  # type: ignore[attr-defined]
    body = getattr(error, "body", None)
    if body is not None:  # openai and together: an error in the middle of a stream, a text at some servers
        code = body.get("code") if isinstance(body, dict) else None
        return HttpFailure(code if isinstance(code, int) else None, body, headers)
    return None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _of_status(
    http: HttpFailure, provider: str, masked: Callable[[str], str], partial: str, request_id: str
) -> AttemptError:
    if http.status in _REDIRECTS:
        return _redirected(http.status, provider)
    error = _error(http.body)
    outcome = _outcome(http.status or 500, error, provider)
    words = _words(error, http.body, masked)
    how = f"refused with status {http.status}" if http.status else "broke off"
    return AttemptError(
        outcome,
        f"{speaker(provider)} {how}: {words}",
        remedy(outcome, provider, words),
        status=http.status,
        hint_s=hint_s(http),
        partial=partial,
        request_id=request_id or str(http.headers.get("x-request-id", ""))[:100],
    )


def _redirected(status: int, provider: str) -> AttemptError:
    mend = "Check the network: something in it answers in the provider's place."
    if provider == "compatible":
        mend = "Set VISION_BENCH_VLM_URL to the address that it sends on to, if you trust it."
    what = f"{speaker(provider)} answered with status {status}: it sends on to another address."
    return AttemptError(Outcome.BAD_REQUEST, what, mend, status=status)


def _error(body: object) -> dict[str, Any]:
    """Return the part of a body that describes the error; empty where it has none."""
    if isinstance(body, list) and body:
        body = body[0]
    inner = body.get("error", body) if isinstance(body, dict) else {}
    return inner if isinstance(inner, dict) else {"message": inner}


def _outcome(status: int, error: dict[str, Any], provider: str) -> Outcome:
    if status == 429 and _DAILY.search(json.dumps(error, default=str)):
        return Outcome.QUOTA
    if status < 500 and status not in (402, 404):  # which say enough
        for word in _codes(error):
            if word in _BY_WORD:
                return _BY_WORD[word]
    if provider == "together" and status == 403:  # its context is too long: not a matter of permission
        return Outcome.BAD_REQUEST
    if provider == "compatible" and status == 404 and "model" not in str(error.get("message", "")).lower():
        return Outcome.BAD_REQUEST  # no such route
    if status >= 500:
        return Outcome.SERVER_ERROR
    return _BY_STATUS.get(status, Outcome.BAD_REQUEST)


def _codes(error: dict[str, Any]) -> Iterator[str]:
    for name in ("code", "type", "status"):
        if isinstance(word := error.get(name), str):
            yield word
    for detail in _details(error):
        if isinstance(word := detail.get("reason"), str):
            yield word


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    found = error.get("details")
    return [detail for detail in found if isinstance(detail, dict)] if isinstance(found, list) else []


def _words(error: dict[str, Any], body: object, masked: Callable[[str], str]) -> str:
    """Return what the provider says, as one short line."""
    said = error.get("message") or (body if isinstance(body, str) else "")
    text = " ".join("".join(c if c.isprintable() else " " for c in str(said)[: 10 * LONGEST]).split())
    if re.match(r"(?i)<(!doctype|html|head|body|\?xml)", text):
        return "a web page instead of an answer."
    text = masked(text)  # before it is cut: half a key is not recognised
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    return (text if text.endswith((".", "!", "?", "…")) else f"{text}.") if text else "it gave no reason."


def hint_s(http: HttpFailure) -> float | None:
    """Return how long the server asks to wait, in seconds: of the body (Gemini), or of the headers."""
    for detail in _details(_error(http.body)):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay", "")), re.ASCII)
        if found and (delay := _number(found[1])) is not None:
            return delay
    headers = {name.lower(): value for name, value in http.headers.items()}
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1e3
    if (seconds := _number(headers.get("retry-after"))) is not None:
        return seconds
    try:
        due = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    due = due if due.tzinfo else due.replace(tzinfo=UTC)
    return max(0.0, (due - datetime.now(UTC)).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def speaker(provider: str) -> str:
    """Return what a sentence about a provider begins with."""
    return "The compatible server" if provider == "compatible" else TITLES[provider]


def remedy(outcome: Outcome, provider: str, words: str = "") -> str:
    """Return how to mend an outcome; `words` are the provider's own."""
    variables = " or ".join(KEY_VARIABLES[provider])
    low = words.lower()
    match outcome:
        case Outcome.AUTH:
            return f"Check the key in {variables}, or type another one in on the page."
        case Outcome.QUOTA:
            return "Raise the limit in the provider's console, or wait until it is renewed."
        case Outcome.MODEL_GONE:
            return "Choose another model from the list."
        case Outcome.BLOCKED:
            return "Change the prompt or the picture."
        case Outcome.BAD_REQUEST if "temperature" in low:
            return "Leave the temperature to the model."
        case Outcome.BAD_REQUEST if provider == "compatible" and "not found" in low:
            return "Check VISION_BENCH_VLM_URL: most servers want /v1 at its end."
        case Outcome.BAD_REQUEST if "token" in low or "context" in low:
            return "Make the prompt or the limit of tokens smaller."
        case Outcome.BAD_REQUEST:
            return "Change the prompt, the picture or the options."
        case Outcome.NETWORK:
            return "Check the network, and whether the provider can be reached from here."
        case _:
            return "Ask again a little later."
