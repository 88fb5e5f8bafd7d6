"""Gemini, by google-genai."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from core.vlm.addresses import Addresses
from core.vlm.base import LiveModel, Outcome, Question, Usage
from core.vlm.pictures import Fitted
from core.vlm.providers.clients import httpx2_client
from core.vlm.providers.streaming import Piece, RemoteProvider, tokens

if TYPE_CHECKING:
    from google.genai import types

_ENDED = {
    "STOP": Outcome.OK,
    "MAX_TOKENS": Outcome.TRUNCATED,
    "CONTINUATION": Outcome.TRUNCATED,
    "MALFORMED_FUNCTION_CALL": Outcome.MALFORMED,
    "MALFORMED_RESPONSE": Outcome.MALFORMED,
    "UNEXPECTED_TOOL_CALL": Outcome.MALFORMED,
    "TOO_MANY_TOOL_CALLS": Outcome.MALFORMED,
}
"""What a finish reason means. All others withhold the answer: safety, recitation and so on."""
_LIST_PAGE = 1000
_NO_REASON = ("", "FINISH_REASON_UNSPECIFIED")


class GeminiProvider(RemoteProvider):
    """`gemini`. A client of our own keeps the SDK off aiohttp, with which it retries unasked."""

    def __init__(self, name: str, key: str, addresses: Addresses, masked: Callable[[str], str]) -> None:
        from google import genai
        from google.genai import types

        base = addresses.base(name)
        http = httpx2_client(base)
        super().__init__(name, bool(addresses.loopback), masked, http)
        options = types.HttpOptions(base_url=base, httpx_async_client=http)
        # Held, because a client closes itself when it is garbage collected.
        self._client = genai.Client(api_key=key, vertexai=False, http_options=options)

    async def _pieces(self, model: str, question: Question, picture: Fitted) -> AsyncIterator[Piece]:
        from google.genai import types

        config = types.GenerateContentConfig(
            max_output_tokens=question.max_tokens,
            temperature=question.temperature,
            automatic_continuation=False,  # it hides further requests in the one that is timed
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        part = types.Part.from_bytes(data=picture.data, mime_type=picture.media_type)
        contents = types.Content(role="user", parts=[part, types.Part.from_text(text=question.prompt)])
        stream = await self._client.aio.models.generate_content_stream(
            model=model, contents=contents, config=config
        )
        async for event in stream:
            yield piece_of(event)

    async def _list(self) -> tuple[LiveModel, ...]:
        pages = await self._client.aio.models.list(config={"page_size": _LIST_PAGE})
        return tuple(
            [
                LiveModel((model.name or "").removeprefix("models/"), model.display_name or "")
                async for model in pages
                if "generateContent" in (model.supported_actions or ())
            ]
        )


def piece_of(event: "types.GenerateContentResponse") -> Piece:
    """Return what one event of a stream tells."""
    feedback = event.prompt_feedback
    blocked = feedback.block_reason.value if feedback and feedback.block_reason else ""
    candidate = event.candidates[0] if event.candidates else None
    parts = (candidate.content.parts or []) if candidate and candidate.content else []
    reason = candidate.finish_reason.value if candidate and candidate.finish_reason else ""
    finish = f"prompt {blocked}" if blocked else "" if reason in _NO_REASON else reason
    return Piece(
        "".join(part.text or "" for part in parts if not part.thought),
        thinks=any(part.thought for part in parts),
        finish=finish,
        ended=_ENDED.get(finish, Outcome.BLOCKED) if finish else None,
        model=event.model_version or "",
        usage=_usage(event.usage_metadata),
        request_id=event.response_id or "",
    )


def _usage(told: "types.GenerateContentResponseUsageMetadata | None") -> Usage | None:
    """Return the tokens; Gemini counts thinking apart from the answer, and both are paid as output."""
    if told is None:
        return None
    image = [
        detail.token_count
        for detail in told.prompt_tokens_details or []
        if detail.modality and detail.modality.value == "IMAGE" and detail.token_count is not None
    ]
    made = [n for n in (told.candidates_token_count, told.thoughts_token_count) if n is not None]
    return Usage(
        tokens(told.prompt_token_count),
        tokens(sum(image)) if image else None,
        tokens(told.cached_content_token_count),
        tokens(sum(made)) if made else None,
        tokens(told.thoughts_token_count),
    )


open_here = GeminiProvider
