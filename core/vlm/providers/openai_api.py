"""OpenAI, and every server that speaks as it does: Ollama, vLLM, LM Studio and others."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from core.vlm.addresses import Addresses
from core.vlm.base import LiveModel, Question
from core.vlm.pictures import Fitted
from core.vlm.providers.chat import messages, read
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
        limit = "max_completion_tokens" if self.name == "openai" else "max_tokens"
        options: dict[str, Any] = {limit: question.max_tokens}
        if question.temperature is not None:
            options["temperature"] = question.temperature
        create: Any = self._client.chat.completions.create  # its overloads cannot take a dict of options
        stream = await create(
            model=model,
            messages=messages(question, picture),
            stream=True,
            stream_options={"include_usage": True},
            **options,
        )
        async for piece in read(stream):
            yield piece

    async def _list(self) -> tuple[LiveModel, ...]:
        return tuple([LiveModel(model.id) async for model in self._client.models.list()])


open_here = OpenAIProvider
