"""Who counts as the one person of a private machine."""

import pytest

from pages.ui.session import is_private


@pytest.mark.parametrize(
    ("access", "headers", "expected"),
    [
        pytest.param("auto", {"Host": "localhost:8501"}, True, id="own browser"),
        pytest.param("auto", {"Host": "127.0.0.1:8501"}, True, id="own browser by address"),
        pytest.param("auto", {"Host": "[::1]:8501"}, True, id="own browser by IPv6 address"),
        pytest.param("auto", {}, True, id="no network client at all"),
        pytest.param("auto", {"Host": "192.168.1.7:8501"}, False, id="another machine"),
        pytest.param("auto", {"Host": "bench.example.org"}, False, id="public name"),
        pytest.param("auto", {"Host": "localhost.example.org"}, False, id="name that begins like localhost"),
        pytest.param(
            "auto", {"Host": "localhost", "X-Forwarded-For": "203.0.113.9"}, False, id="behind a proxy"
        ),
        pytest.param(
            "auto", {"host": "localhost", "forwarded": "for=203.0.113.9"}, False, id="lower-case headers"
        ),
        pytest.param("public", {"Host": "localhost:8501"}, False, id="declared public"),
        pytest.param("private", {"Host": "bench.example.org"}, True, id="declared private"),
    ],
)
def test_only_a_direct_loopback_request_is_private(
    access: str, headers: dict[str, str], expected: bool
) -> None:
    assert is_private(access, headers) is expected
