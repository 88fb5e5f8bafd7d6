"""Every test that takes `url` or `store` runs on SQLite and on PostgreSQL."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from db import Store
from tests.support import postgres

BACKENDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A private PostgreSQL server; without one these tests are skipped, on CI they fail."""
    if postgres.binaries() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no PostgreSQL server is installed")
    with postgres.server() as running:
        yield running


@pytest.fixture(scope="session")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Return a function that gives the address of a new SQLite store in a folder: a copy, which is quick."""
    template = tmp_path_factory.mktemp("template") / "store.sqlite3"
    Store.open(f"sqlite:///{template}").close()

    def new_store(folder: Path) -> str:
        shutil.copy(template, folder / "store.sqlite3")
        return f"sqlite:///{folder / 'store.sqlite3'}"

    return new_store


@pytest.fixture(scope="session")
def postgres_store(server: postgres.Server) -> Callable[[], str]:
    """Return a function that empties the one PostgreSQL store and gives its address: quicker than a new."""
    url = server.new_database()
    Store.open(url).close()

    def emptied() -> str:
        tables = ("vote", "run", "image", "artifact", "series", "environment", "derived", "saved_view")
        server.psql("; ".join(f"DELETE FROM {table}" for table in tables), url)
        return url

    return emptied


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.sqlite3'}"
    return str(request.getfixturevalue("server").new_database())


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a store without runs."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_store")(tmp_path))
    return str(request.getfixturevalue("postgres_store")())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store without runs."""
    with Store.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Processes that start quickly: they are forked from one that has imported what a store needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.writers", "alembic.command", "psycopg"])
    return context
