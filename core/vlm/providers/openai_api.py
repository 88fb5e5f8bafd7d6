"""OpenAI, and every server that speaks as it does: Ollama, vLLM, LM Studio and others."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from core.vlm.addresses import Addresses
from core.vlm.base import LiveModel, Question
from core.vlm.pictures import Fitted
from core.vlm.providers.chat import converse, messages
from core.vlm.providers.clients import httpx2_client
from core.vlm.providers.streaming import Piece, RemoteProvider


class OpenAIProvider(RemoteProvider):
    """`openai` or `compatible`.

    OpenAI's API documents `max_completion_tokens` and has given up `max_tokens`, which its reasoning models
    refuse; it counts thinking too, as `Question.max_tokens` does. Compatible servers know `max_tokens`.
    Ollama tells the time to load a model by its own API only: here it is part of the time to the first token.
    """

    def __init__(self, name: str, key: str, addresses: Addresses, masked: Callable[[str], str]) -> None:
        from openai import AsyncOpenAI

        base = addresses.base(name)
        http = httpx2_client(base)
        super().__init__(name, bool(addresses.loopback), masked, http)
        self._client = AsyncOpenAI(api_key=key, base_url=base, max_retries=0, timeout=None, http_client=http)

    async def _pieces(self, model: str, question: Question, picture: Fitted) -> AsyncIterator[Piece]:
        from openai import AsyncStream

        limit = "max_completion_tokens" if self.name == "openai" else "max_tokens"
        body: dict[str, Any] = {
            "model": model,
            "messages": messages(question, picture),
            "stream_options": {"include_usage": True},
            limit: question.max_tokens,
        }
        if question.temperature is not None:
            body["temperature"] = question.temperature
        chat = "/chat/completions"
        only_our_key = {"bearer_auth": True}  # and never an administrator's from the environment
        async for piece in converse(self._client, AsyncStream[object], chat, body, security=only_our_key):
            yield piece

    async def _list(self) -> tuple[LiveModel, ...]:
        return tuple([LiveModel(model.id) async for model in self._client.models.list()])


open_here = OpenAIProvider
