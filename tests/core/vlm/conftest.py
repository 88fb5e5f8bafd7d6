"""What tests of vision-language models share: the loopback server that speaks to the real SDKs."""

from collections.abc import Iterator

import pytest

from tests.support.vlm_server import VlmServer


@pytest.fixture(scope="session")
def running_vlm_server() -> Iterator[VlmServer]:
    """One server for all tests here."""
    with VlmServer() as server:
        yield server


@pytest.fixture
def vlm_server(running_vlm_server: VlmServer) -> VlmServer:
    """That server, with nothing asked of it yet."""
    running_vlm_server.reset()
    return running_vlm_server
