"""Gemini's generateContent, streamGenerateContent and list of models, as the service writes them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.support.vlm_server.behaviours import LISTED, NO_TEMPERATURE, Ask, Failure, Reply, counts

NAME = "gemini"
DONE = b""
"""Nothing follows the last event."""

_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "filter": "SAFETY",
    "safety": "SAFETY",
    "recitation": "RECITATION",
    "refused": "PROHIBITED_CONTENT",
}
_STATUS = {
    400: ("INVALID_ARGUMENT", "Unable to process input image. Please retry or report."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    402: ("FAILED_PRECONDITION", "Billing is not enabled for this project."),
    403: ("PERMISSION_DENIED", "Your project has been denied access."),
    404: ("NOT_FOUND", ""),
    408: ("DEADLINE_EXCEEDED", "The request took too long to arrive."),
    429: (
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}
_TYPE = "type.googleapis.com/google.rpc."
DAILY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"


def adapt(step: Reply) -> Reply | Failure:
    """Return a reply as this service gives it: it has no field for a refusal, and withholds the answer."""
    return replace(step, pieces=()) if step.finish == "refused" else step


def failure(step: Failure, ask: Ask) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return status, headers and body; a wrong key is a 400 here, and a hint is in the body alone."""
    if step.kind == "bad-key":
        reason = {"@type": _TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        message = "API key not valid. Please pass a valid API key."
        return _error(400, "INVALID_ARGUMENT", message, [reason])
    status, message = _STATUS[step.status]
    if step.kind == "temperature":
        message = NO_TEMPERATURE
    if step.status == 404:
        message = f"models/{ask.model} is not found for API version v1beta, or is not supported."
    return _error(step.status, status, message, _limits(step) if step.status == 429 else [])


def _limits(step: Failure) -> list[dict[str, Any]]:
    # The service names a wait of seconds beside a daily quota too: only the quota's id tells them apart.
    hint_s = 37.0 if step.hint_s is None else step.hint_s
    quota = {"quotaId": DAILY if step.kind == "quota" else MINUTE, "quotaValue": "20"}
    return [
        {"@type": _TYPE + "QuotaFailure", "violations": [quota]},
        {"@type": _TYPE + "RetryInfo", "retryDelay": f"{hint_s:g}s"},
    ]


def _error(
    code: int, status: str, message: str, details: list[dict[str, Any]]
) -> tuple[int, dict[str, str], dict[str, Any]]:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = details
    return code, {}, {"error": error}


def opening(reply: Reply, ask: Ask, number: int) -> Iterator[dict[str, Any]]:
    """Yield what comes before the answer: thoughts, which are marked parts."""
    if reply.thoughts:
        yield _event(reply, ask, number, [{"text": reply.thoughts, "thought": True}])


def piece(text: str, reply: Reply, ask: Ask, number: int) -> dict[str, Any]:
    """Return the event of one piece of the answer."""
    return _event(reply, ask, number, [{"text": text}])


def closing(reply: Reply, ask: Ask, number: int) -> Iterator[dict[str, Any]]:
    """Yield the end: why the model stopped, and the tokens."""
    if reply.finish == "blocked-prompt":
        yield _blocked(reply, ask, number)
    else:
        parts = [{"text": ""}] if reply.pieces and reply.finish in ("stop", "length") else []
        yield _event(reply, ask, number, parts, ends=True)


def whole(reply: Reply, ask: Ask, number: int) -> dict[str, Any]:
    """Return the answer in one."""
    if reply.finish == "blocked-prompt":
        return _blocked(reply, ask, number)
    parts: list[dict[str, Any]] = [{"text": reply.thoughts, "thought": True}] if reply.thoughts else []
    if reply.pieces:
        parts.append({"text": "".join(reply.pieces)})
    return _event(reply, ask, number, parts, ends=True)


def _event(
    reply: Reply, ask: Ask, number: int, parts: list[dict[str, Any]], ends: bool = False
) -> dict[str, Any]:
    # A candidate that was withheld or spent all on thinking has a role but no parts.
    candidate: dict[str, Any] = {"content": {"role": "model"}, "index": 0}
    if parts:
        candidate["content"]["parts"] = parts
    if ends:
        candidate["finishReason"] = _FINISH[reply.finish]
        if reply.finish in ("filter", "safety"):
            candidate["safetyRatings"] = [_rating()]
    return {"candidates": [candidate], **_common(reply, ask, number)}


def _blocked(reply: Reply, ask: Ask, number: int) -> dict[str, Any]:
    feedback = {"blockReason": "SAFETY", "safetyRatings": [_rating()]}
    return {"promptFeedback": feedback, **_common(reply, ask, number)}


def _rating() -> dict[str, Any]:
    return {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}


def _common(reply: Reply, ask: Ask, number: int) -> dict[str, Any]:
    model = reply.returned or ask.model
    return {"usageMetadata": _usage(reply, ask), "modelVersion": model, "responseId": f"loopback-{number}"}


def _usage(reply: Reply, ask: Ask) -> dict[str, Any]:
    tokens = counts(reply, ask)
    shown, prompt = tokens["answer"], tokens["text"] + tokens["image"]
    details = [{"modality": "TEXT", "tokenCount": tokens["text"]}]
    if tokens["image"]:
        details.append({"modality": "IMAGE", "tokenCount": tokens["image"]})
    usage: dict[str, Any] = {"promptTokenCount": prompt, "promptTokensDetails": details}
    if tokens["cached"]:
        usage["cachedContentTokenCount"] = tokens["cached"]
    if shown:
        usage["candidatesTokenCount"] = shown
    if tokens["thoughts"]:  # apart from the candidates' tokens, not among them
        usage["thoughtsTokenCount"] = tokens["thoughts"]
    return {**usage, "totalTokenCount": prompt + shown + tokens["thoughts"]}


def models(offset: int, size: int) -> dict[str, Any]:
    """Return one page of the list, of at most `size` models, 50 unless it is asked otherwise."""
    page = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": f"Loopback {name}",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        for name in LISTED[offset : offset + size]
    ]
    after = offset + size
    return {"models": page, **({"nextPageToken": str(after)} if after < len(LISTED) else {})}
