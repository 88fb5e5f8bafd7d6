"""What tests of vision-language models share: the loopback server that speaks to the real SDKs."""

from collections.abc import Iterator

import pytest

from tests.support.vlm_server import VlmServer


@pytest.fixture
def vlm_server() -> Iterator[VlmServer]:
    """A server of the test's own."""
    with VlmServer() as server:
        yield server
