"""A server on 127.0.0.1 that speaks the wire formats of Gemini, OpenAI and Together to their real SDKs.

    with VlmServer() as server:
        openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0)
        together.Together(api_key="any", base_url=server.url, max_retries=0)
        genai.Client(api_key="any", http_options=types.HttpOptions(base_url=server.url))
        ...
        assert server.requests[0].picture.width == 224

The model that is asked for is what happens (`behaviours.LISTED`; `ORG/NAME` is `NAME`). A key that begins
with "wrong", or none, is refused as each service refuses one. In a terminal:
`python -m tests.support.vlm_server`.
"""

from tests.support.vlm_server.behaviours import HOSTILE, LISTED, SENTENCE, SUCCESSOR, UNSURE
from tests.support.vlm_server.requests import Picture, Seen, key_digest, pixel_digest
from tests.support.vlm_server.server import VlmServer

__all__ = [
    "HOSTILE",
    "LISTED",
    "SENTENCE",
    "SUCCESSOR",
    "UNSURE",
    "Picture",
    "Seen",
    "VlmServer",
    "key_digest",
    "pixel_digest",
]
