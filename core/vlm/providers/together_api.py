"""Together, by its own SDK."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from core.vlm.addresses import Addresses
from core.vlm.base import LiveModel, Question
from core.vlm.pictures import Fitted
from core.vlm.providers.chat import converse, messages
from core.vlm.providers.clients import httpx_client
from core.vlm.providers.streaming import Piece, RemoteProvider


class TogetherProvider(RemoteProvider):
    """`together`. Its models of text alone and those without a serverless endpoint are not listed."""

    def __init__(self, name: str, key: str, addresses: Addresses, masked: Callable[[str], str]) -> None:
        from together import AsyncTogether

        base = addresses.base(name)
        http = httpx_client(base)
        super().__init__(name, bool(addresses.loopback), masked, http)
        self._client = AsyncTogether(
            api_key=key, base_url=base, max_retries=0, timeout=None, http_client=http
        )

    async def _pieces(self, model: str, question: Question, picture: Fitted) -> AsyncIterator[Piece]:
        from together import AsyncStream

        body: dict[str, Any] = {
            "model": model,
            "messages": messages(question, picture),
            "max_tokens": question.max_tokens,
        }
        if question.temperature is not None:
            body["temperature"] = question.temperature
        async for piece in converse(self._client, AsyncStream[object], "/v1/chat/completions", body):
            yield piece

    async def _list(self) -> tuple[LiveModel, ...]:
        listed = await self._client.models.list_supported()
        return tuple(
            LiveModel(model.name, model.display_name or "", True)
            for model in listed.data
            if model.serverless_endpoint and "MODALITY_IMAGE" in model.input_modalities
        )


open_here = TogetherProvider
