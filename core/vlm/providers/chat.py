"""Chat completions, which OpenAI, Together and compatible servers speak: one request, one way to read it."""

import base64
from collections.abc import AsyncIterator
from typing import Any

from core.vlm.base import Outcome, Question, Usage
from core.vlm.pictures import Fitted
from core.vlm.providers.streaming import Piece, tokens

_ENDED = {
    "stop": Outcome.OK,
    "eos": Outcome.OK,
    "length": Outcome.TRUNCATED,
    "content_filter": Outcome.BLOCKED,
    "tool_calls": Outcome.MALFORMED,  # nobody offered a tool
    "function_call": Outcome.MALFORMED,
}


def messages(question: Question, picture: Fitted) -> list[dict[str, Any]]:
    """Return the one message of a question: its picture, then its prompt."""
    url = f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode('ascii')}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question.prompt}]
    return [{"role": "user", "content": content}]


async def converse(
    client: Any, streams: type, path: str, body: dict[str, Any], **options: Any
) -> AsyncIterator[Piece]:
    """Send a request once, by openai's or together's asynchronous client, and yield what comes.

    The SDK reads the stream into plain JSON. Its own objects take as long as all the rest of a call, check no
    types, and would have to be taken apart again.

    Args:
        streams: The SDK's own `AsyncStream`.
        path: Of chat completions, under the client's base URL.
        options: The SDK's own, for this request.
    """
    body = {**body, "stream": True}
    stream = await client.post(
        path, body=body, cast_to=object, stream=True, stream_cls=streams, options=options
    )
    async with stream:
        request_id = stream.response.headers.get("x-request-id", "")
        async for chunk in stream:
            yield piece_of(chunk, request_id)


def piece_of(told: object, request_id: str = "") -> Piece:
    """Return what one chunk of a stream tells. What is of another type than it should be tells nothing."""
    chunk = _dict(told)
    choice = _first(chunk.get("choices"))
    delta = _dict(choice.get("delta"))
    finish = _text(choice.get("finish_reason"))
    return Piece(
        _text(delta.get("content")),
        _text(delta.get("refusal")),
        bool(delta.get("reasoning") or delta.get("reasoning_content")),
        finish,
        _ENDED.get(finish, Outcome.OK) if finish else None,
        _text(chunk.get("model")),
        usage_of(chunk.get("usage")),
        request_id or _text(chunk.get("id")),
    )


def usage_of(usage: object) -> Usage | None:
    """Return the tokens that a chunk counts. Details stand beside the sums or nested, by model (Together)."""
    told = _dict(usage)
    if not told:
        return None
    given, made = _dict(told.get("prompt_tokens_details")), _dict(told.get("completion_tokens_details"))
    return Usage(
        tokens(told.get("prompt_tokens")),
        tokens(given.get("image_tokens")),
        _either(tokens(given.get("cached_tokens")), tokens(told.get("cached_tokens"))),
        tokens(told.get("completion_tokens")),
        _either(tokens(made.get("reasoning_tokens")), tokens(told.get("reasoning_tokens"))),
    )


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _first(value: object) -> dict[str, Any]:
    return _dict(value[0]) if isinstance(value, list) and value else {}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
