"""A session of the app without a browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.settings import settings
from db import Store

HOME = str(Path(__file__).parents[2] / "Home.py")

Visit = Callable[..., AppTest]


@pytest.fixture
def visit() -> Visit:
    """Return a function that opens a page in a new session, as a visitor of its own would."""

    def open_page(page: str, **address: str) -> AppTest:
        session = AppTest.from_file(HOME, default_timeout=180)
        session.switch_page(f"pages/{page}.py")
        session.query_params.update(address)
        return session.run()

    return open_page


@pytest.fixture
def store() -> Store:
    """Return the store that the app of this test uses."""
    return Store.open(settings().database_url)


def figures(session: AppTest) -> list[dict[str, Any]]:
    """Return the charts on the page as Plotly's own description."""
    return [json.loads(chart.proto.spec) for chart in session.get("plotly_chart")]
