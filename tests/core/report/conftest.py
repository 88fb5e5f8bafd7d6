"""Reports on stores that tests fill."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.report.build import build_report
from core.report.document import Document
from core.report.request import Request
from core.settings import settings
from db import RunFilter, Store

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")
Reported = Callable[..., Document]


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store.open(settings().database_url)


@pytest.fixture
def report(store: Store) -> Reported:
    """Return a function that makes the report on `ada`'s runs; more fields narrow it."""

    def make(**more: Any) -> Document:
        given: dict[str, Any] = {"since": None, "until": None, "zone": SEOUL} | more
        request = Request(**given, store="SQLite file test", revision="abc123")
        where = RunFilter(owner="ada", **request.which)
        with store.report(where) as reader:
            return build_report(reader, request, now=NOW)

    return make
