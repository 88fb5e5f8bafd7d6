"""A chart's numbers as a table and as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.vlm.safe import csv_cell
from core.vlm.safe import plain as readable
from pages.ui.history_state import PAGE


def numbers(name: str, rows: Sequence[dict[str, object]], page: str = PAGE) -> None:
    """Draw a button that opens the numbers behind a chart; they are sent only when it is open.

    Args:
        page: Prefix of the widget keys, and of the file's name.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        numbers_of = st.popover(
            "Numbers",
            icon=":material/table:",
            type="tertiary",
            key=f"{page}_{name}_numbers",
            on_change="rerun",
        )
        st.download_button(
            "CSV",
            partial(rows_csv, rows),
            f"{page}-{name}.csv",
            "text/csv",
            key=f"{page}_{name}_csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            help="The numbers of this chart.",
        )
    if numbers_of.open:
        with numbers_of:
            st.dataframe(
                [{head: _shown(value) for head, value in row.items()} for row in rows],
                hide_index=True,
                key=f"{page}_{name}_table",
                alt=f"Numbers of the chart {name}",
            )


def _shown(value: object) -> object:
    return readable(value) if isinstance(value, str) else value


def rows_csv(rows: Sequence[dict[str, object]]) -> bytes:
    """Return rows as CSV; no cell is taken for a formula by a spreadsheet."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writerow({name: csv_cell(name) for name in writer.fieldnames})
    writer.writerows(
        {name: "" if value is None else csv_cell(value) for name, value in row.items()} for row in rows
    )
    return buffer.getvalue().encode(errors="replace")
