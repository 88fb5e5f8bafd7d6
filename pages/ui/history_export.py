"""Taking away exactly what is filtered: few runs at once, many by a job that can be watched and cancelled."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import VisionBenchError
from db.errors import StoreError
from pages.ui import state
from pages.ui.history_files import FORMATS, write_runs
from pages.ui.history_state import PAGE
from pages.ui.history_view import EVERYTHING, HistoryView
from pages.ui.session import store
from pages.ui.text import megabytes, plain

if TYPE_CHECKING:
    from db import Store
    from db.records import RunFilter

AT_ONCE = 2_000
"""Most runs that a click on the download writes there and then."""
PACKED_FROM = 20_000
"""From so many runs on, CSV and JSON are compressed: the browser gets the file from this process's memory."""
POLL_S = 1.0


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="vision-bench-export-"))


class Stopped(Exception):
    """Somebody cancelled the job."""


@dataclass
class Job:
    """One export that a thread of its own writes into a folder of its own."""

    form: str
    where: RunFilter
    total: int
    view: HistoryView = EVERYTHING
    """Which runs were asked for, in words that stay the same while "the last hour" moves on."""
    folder: Path = field(default_factory=_new_folder)
    written: int = 0
    error: str = ""
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def is_packed(self) -> bool:
        return self.total >= PACKED_FROM and self.form != "parquet"

    def __post_init__(self) -> None:
        """Let the folder go with the job, such as when the session ends."""
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def name(self) -> str:
        """Name of the file."""
        return f"runs.{self.form}{'.gz' if self.is_packed else ''}"

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.folder / self.name

    @property
    def share(self) -> float:
        """How much is done, 0-1: a table is written twice."""
        passes = 1 if self.form == "json" else 2
        return min(self.written / max(self.total * passes, 1), 1.0)

    def start(self, opened: Store) -> None:
        """Begin to write."""
        threading.Thread(target=self._write, args=(opened,), name="history-export", daemon=True).start()

    def cancel(self) -> None:
        """Stop writing, and delete what was written."""
        self.cancelled.set()
        if self.done.is_set():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, opened: Store) -> None:
        try:
            write_runs(
                opened.export(self.where), self.path, self.form, packed=self.is_packed, tick=self._tick
            )
        except Stopped:
            pass
        except (StoreError, VisionBenchError) as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"The file cannot be written: {error.strerror or error}. Make room on the disk."
        finally:
            if self.error or self.cancelled.is_set():
                shutil.rmtree(self.folder, ignore_errors=True)
            self.done.set()
            if self.cancelled.is_set():  # also where that came between the two
                shutil.rmtree(self.folder, ignore_errors=True)

    def _tick(self) -> None:
        self.written += 1
        if self.cancelled.is_set():
            raise Stopped


def export(view: HistoryView, where: RunFilter, total: int) -> None:
    """Draw the button that opens the export of what is listed."""
    with st.popover("Export", icon=":material/download:", key=f"{PAGE}_export", disabled=not total):
        st.markdown(f"**{total:,} run{'' if total == 1 else 's'}**, exactly those that are listed.")
        form = str(
            st.segmented_control(
                "Format",
                list(FORMATS),
                default="csv",
                required=True,
                format_func=lambda name: FORMATS[name][0],
                key=f"{PAGE}_form",
            )
        )
        st.caption(
            "JSON holds all of each run; CSV and Parquet a row for each with the numbers of the whole run. "
            "Pictures are named by their digests."
        )
        if total <= AT_ONCE:
            _download("Download", partial(_bytes, store(), where, form), form)
        else:
            _job(runs_of(view), where, total, form)


def runs_of(view: HistoryView) -> HistoryView:
    """Return what of a view says which runs there are."""
    words = {name: getattr(view, name) for name in ("first", "last", "tz", "deleted", "point")}
    return HistoryView(**words, **{name: getattr(view, name) for name in view.narrowing})


def _download(label: str, make: Callable[[], bytes], form: str, packed: bool = False) -> None:
    st.download_button(
        label,
        make,
        f"runs.{form}{'.gz' if packed else ''}",
        "application/gzip" if packed else FORMATS[form][1],
        icon=":material/download:",
        type="primary",
        on_click="ignore",
        key=f"{PAGE}_download_{form}",
    )


def _bytes(opened: Store, where: RunFilter, form: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vision-bench-export-") as folder:
        path = Path(folder) / "runs"
        write_runs(opened.export(where), path, form, tick=lambda: None)
        return path.read_bytes()


def _job(view: HistoryView, where: RunFilter, total: int, form: str) -> None:
    """Draw the job for these runs: to be begun, under way, or done."""
    job = state.HISTORY_EXPORT.get()
    if job is None or (job.view, job.form) != (view, form):
        if job is not None and not job.done.is_set():
            st.caption("Another export is under way; it is cancelled when this one begins.")
        st.button(
            f"Write the {FORMATS[form][0]} file",
            type="primary",
            on_click=_begin,
            args=(view, where, total, form),
        )
    elif job.error:
        st.error(plain(job.error), icon=":material/error:")
        st.button("Try again", on_click=_begin, args=(view, where, total, form))
    elif job.done.is_set():
        size = megabytes(job.path.stat().st_size / 1e6)
        _download(f"Download {size}", job.path.read_bytes, form, job.is_packed)
        if job.is_packed:
            st.caption("Compressed by gzip.")
    else:
        _watch(job)


@st.fragment(run_every=POLL_S)
def _watch(job: Job) -> None:
    if job.done.is_set():
        st.rerun()
    st.progress(job.share, f"{job.share:.0%} of {job.total:,} runs")
    st.button("Cancel", icon=":material/close:", on_click=cancel, key=f"{PAGE}_cancel_export")


def _begin(view: HistoryView, where: RunFilter, total: int, form: str) -> None:
    cancel()
    state.HISTORY_EXPORT.set(Job(form, where, total, view)).start(store())


def cancel() -> None:
    """Stop the export of this session, and delete its file."""
    job = state.HISTORY_EXPORT.get()
    if job is not None:
        job.cancel()
        state.HISTORY_EXPORT.clear()
