"""A private PostgreSQL server for the tests: real, empty, on a Unix socket in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

START_TIMEOUT_S = 60

FAST = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""Settings of a server whose data nobody wants after the tests."""


def binaries() -> Path | None:
    """Return the folder of the newest installed server's programs, or None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def database_name(url: str) -> str:
    """Return the name of the database at an address."""
    return urlsplit(url).path.removeprefix("/")


class Server:
    """A server, over a folder that `initdb` made."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [word for key, value in FAST.items() for word in ("-c", f"{key}={value}")]
        where = ("-D", self._folder / "data", "-k", self._folder)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _as_server(self._programs / "postgres", *where, *settings),
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        _wait_until_ready(self._programs, self._folder, self._process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it in order, whoever is connected; with SIGQUIT at once."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_TIMEOUT_S)

    def new_database(self) -> str:
        """Create an empty database and return its address."""
        self._databases += 1
        name = f"store_{self._databases}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE template0")
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def psql(self, statement: str, url: str = "") -> str:
        """Run one statement as the superuser, in the database at `url`, and return what it prints."""
        where = ["-h", self._folder, "-U", "postgres", "-d", database_name(url) or "postgres"]
        command = [self._programs / "psql", *where, "-qAtX", "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def server() -> Iterator[Server]:
    """Start a server, and stop it and remove its data at the end.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
    """
    programs = binaries()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL server is installed")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.geteuid() == 0:  # the server refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = folder / "data"
        init = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(_as_server(programs / "initdb", *init), check=True, capture_output=True, cwd=folder)
        running = Server(programs, folder)
        try:
            running.start()
            yield running
        finally:
            running.stop(signal.SIGQUIT)  # nobody wants the data


def _as_server(*command: str | Path) -> list[str | Path]:
    if os.geteuid() != 0:
        return [*command]
    account = ("--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT")
    return ["setpriv", *account, *command]


def _wait_until_ready(programs: Path, folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    ready = [programs / "pg_isready", "-q", "-h", folder]
    while subprocess.run(ready, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
        time.sleep(0.05)
