"""Chat completions and lists of models of OpenAI and of Together, as the services write them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.vlm_server.behaviours import LISTED, NO_TEMPERATURE, Ask, Failure, Reply, counts

CREATED = 1_760_000_000
"""Unix seconds that every answer carries."""
ORGANISATION = "loopback"
"""Under which Together's list shows the behaviours."""

_FINISH = {"stop": "stop", "length": "length", "refused": "stop"}
_OPENAI = {
    400: ("invalid_request_error", "invalid_image_format", "You uploaded an unsupported image."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-lo***back."),
    402: (
        "billing_error",
        "billing_not_active",
        "Your account is not active, please check your billing details.",
    ),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country or region not supported.",
    ),
    404: ("invalid_request_error", "model_not_found", ""),
    408: ("timeout", None, "Request timed out."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests per min (RPM): Limit 3, Used 3.",
    ),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that."),
    503: ("service_unavailable", None, "The engine is currently overloaded, please try again later."),
    504: ("server_error", None, "The gateway timed out."),
}
_TOGETHER = {
    400: ("invalid_request_error", "invalid_image", "Unsupported image format."),
    401: ("invalid_request_error", "invalid_api_key", "Invalid API key provided."),
    402: ("credit_limit", None, "Credit limit exceeded, navigate to api.together.ai/settings."),
    403: ("invalid_request_error", None, "Input validation error: inputs + max_new_tokens must be <= 8193."),
    404: ("invalid_request_error", "model_not_available", ""),
    408: ("timeout", None, "Request timed out."),
    429: ("rate_limit", "rate_limit", "You have reached the rate limit specific to this model."),
    500: ("server_error", None, "Internal server error."),
    503: ("overloaded_error", "overloaded_error", "The model is overloaded, please try again later."),
    504: ("server_error", None, "The gateway timed out."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChatWire:
    """One of the two services."""

    NAME: str
    DONE: bytes = b"data: [DONE]\n\n"

    @property
    def _is_together(self) -> bool:
        return self.NAME == "together"

    def adapt(self, step: Reply) -> Reply | Failure:
        """Return a reply as this service gives it: OpenAI refuses a prompt with a 400, Together filters."""
        if step.finish == "blocked-prompt" and not self._is_together:
            return Failure(400, "blocked")
        return step

    def failure(self, step: Failure, ask: Ask) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return status, headers and body; a hint is in the headers alone."""
        status = 402 if step.kind == "quota" and self._is_together else step.status
        kind, code, message = (_TOGETHER if self._is_together else _OPENAI)[status]
        if step.kind == "quota" and not self._is_together:
            kind = code = "insufficient_quota"
            message = "You exceeded your current quota, please check your plan and billing details."
        if step.kind == "blocked":
            code, message = "content_policy_violation", "Your input may contain content that is not allowed."
        if step.kind == "temperature":
            code, message = "unsupported_value", NO_TEMPERATURE
        if status == 404:
            message = f"The model `{ask.model}` does not exist or you do not have access to it."
        error = {"message": message, "type": kind, "param": None, "code": code}
        return status, self._hint(step), {"error": error}

    def _hint(self, step: Failure) -> dict[str, str]:
        if step.hint_s is None:
            return {}
        headers = {"Retry-After": f"{step.hint_s:g}"}
        if self._is_together:
            return {**headers, "x-ratelimit-reset": f"{step.hint_s:g}"}
        return {**headers, "Retry-After-Ms": f"{step.hint_s * 1000:g}"}

    def opening(self, reply: Reply, ask: Ask, number: int) -> Iterator[dict[str, Any]]:
        """Yield what comes before the answer: the role, with no text yet, and thoughts."""
        yield self._chunk(reply, ask, number, {"content": ""})
        if reply.thoughts:
            yield self._chunk(reply, ask, number, {"reasoning": reply.thoughts})

    def piece(self, text: str, reply: Reply, ask: Ask, number: int) -> dict[str, Any]:
        """Return the event of one piece of the answer."""
        return self._chunk(reply, ask, number, {"refusal" if reply.finish == "refused" else "content": text})

    def closing(self, reply: Reply, ask: Ask, number: int) -> Iterator[dict[str, Any]]:
        """Yield the end: why the model stopped, and the tokens: Together's with it, OpenAI's after it."""
        end = self._chunk(reply, ask, number, {}, _FINISH.get(reply.finish, "content_filter"))
        if self._is_together:
            yield {**end, "usage": self._usage(reply, ask)}
            return
        yield end
        if ask.wants_usage:
            yield {**end, "choices": [], "usage": self._usage(reply, ask)}

    def whole(self, reply: Reply, ask: Ask, number: int) -> dict[str, Any]:
        """Return the answer in one."""
        said, refused = "".join(reply.pieces), reply.finish == "refused"
        message: dict[str, Any] = {"role": "assistant", "content": None if refused else said}
        message["refusal"] = said if refused else None
        if reply.thoughts:
            message["reasoning"] = reply.thoughts
        finish = _FINISH.get(reply.finish, "content_filter")
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        head = self._head(reply, ask, number, "chat.completion")
        return {**head, "choices": [choice], "usage": self._usage(reply, ask)}

    def _chunk(
        self, reply: Reply, ask: Ask, number: int, delta: dict[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish}
        head = self._head(reply, ask, number, "chat.completion.chunk")
        return {**head, "choices": [choice], "usage": None}

    def _head(self, reply: Reply, ask: Ask, number: int, kind: str) -> dict[str, Any]:
        model = reply.returned or ask.model
        return {"id": f"chatcmpl-{number}", "object": kind, "created": CREATED, "model": model}

    def _usage(self, reply: Reply, ask: Ask) -> dict[str, Any]:
        tokens = counts(reply, ask)
        given, made = tokens["text"] + tokens["image"], tokens["answer"] + tokens["thoughts"]
        usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        cached, thoughts = tokens["cached"], tokens["thoughts"]
        if self._is_together and not thoughts:  # only its thinking models tell the details as OpenAI does
            return {**usage, "cached_tokens": cached}
        return {
            **usage,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thoughts},
        }

    def models(self) -> Any:
        """Return the list: a bare array at Together, an object with one at OpenAI."""
        if self._is_together:
            return [_together_model(name) for name in LISTED]
        models = [{"id": n, "object": "model", "created": CREATED, "owned_by": ORGANISATION} for n in LISTED]
        return {"object": "list", "data": models}


OPENAI = ChatWire("openai")
TOGETHER = ChatWire("together")


def _together_model(name: str) -> dict[str, Any]:
    return {
        "id": f"{ORGANISATION}/{name}",
        "object": "model",
        "created": CREATED,
        "type": "chat",
        "running": False,
        "display_name": f"Loopback {name}",
        "organization": ORGANISATION,
        "context_length": 131_072,
        "pricing": {"hourly": 0, "input": 0.2, "output": 0.2, "base": 0, "finetune": 0},
    }


def supported_models() -> dict[str, Any]:
    """Return Together's catalogue of its second interface, which tells what a model takes."""
    return {"data": [_catalogued(name) for name in LISTED]}


def _catalogued(name: str) -> dict[str, Any]:
    return {
        "id": f"ml_{name}",
        "name": f"{ORGANISATION}/{name}",
        "displayName": f"Loopback {name}",
        "displayType": "chat",
        "baseModel": "",
        "baseModelId": "",
        "capabilities": ["CAPABILITY_CHAT"],
        "inputModalities": ["MODALITY_TEXT", "MODALITY_IMAGE"],
        "outputModalities": ["MODALITY_TEXT"],
        "products": ["PRODUCT_SERVERLESS"],
        "publisher": ORGANISATION,
        "status": "SUPPORTED_MODEL_STATUS_SUPPORTED",
        "serverlessEndpoint": f"{ORGANISATION}/{name}",
        "deploymentProfiles": [],
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }
