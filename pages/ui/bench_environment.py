"""What a benchmark ran on: hardware, versions, and how busy the machine was before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.environment import processor_name
from pages.ui.bench_read import Bench, Row
from pages.ui.text import MISSING, megabytes, plain
from pages.ui.vlm_set_data import said

HEAD = (
    "| Model | Load before | after | Free memory before | after | Governor |",
    "|---|---|---|---|---|---|",
)


def environment(bench: Bench) -> None:
    """Draw it behind a button; say at once where the machine was busy."""
    found = [row.run.environment for row in bench.rows]
    busy = [row for row in bench.rows if _is_busy(row)]
    if busy:
        st.caption(
            f":material/warning: The machine had more to do than it has processors while {len(busy)} of "
            f"{len(bench.rows)} were measured: times are longer than they would be alone."
        )
    with st.expander("Environment", icon=":material/memory:"):
        one = found[0]
        devices = dict.fromkeys(f"{each.device_name or each.device} ({each.device})" for each in found)
        lines = {
            "Device": ", ".join(devices),
            "Threads": ", ".join(dict.fromkeys(str(each.threads) for each in found)),
            "Versions": ", ".join(f"{name} {version}" for name, version in one.versions.items()),
            "Revision": one.git_revision or MISSING,
        }
        if any(each.device != "cpu" for each in found):
            lines["CPU of this machine"] = processor_name()
        st.markdown("  \n".join(f"**{name}**: {plain(value)}" for name, value in lines.items()))
        st.markdown("\n".join([*HEAD, *(_line(row) for row in bench.rows)]))
        st.caption("Load: processes that ran or wanted to, mean of a minute.")


def _states(row: Row) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    machine = row.run.parameters.get("machine") or {}
    return machine.get("before") or {}, machine.get("after") or {}


def _is_busy(row: Row) -> bool:
    before, _ = _states(row)
    load, processors = before.get("load"), before.get("processors")
    return load is not None and processors is not None and load > processors


def _line(row: Row) -> str:
    before, after = _states(row)
    cells = [
        said(row.label, 80),
        *(_load(one) for one in (before, after)),
        *(megabytes(one.get("available_mb")) for one in (before, after)),
        said(str(before.get("governor") or MISSING), 40),
    ]
    return f"| {' | '.join(cells)} |"


def _load(one: Mapping[str, Any]) -> str:
    load = one.get("load")
    return MISSING if load is None else f"{load:.1f} of {one.get('processors', MISSING)}"
