"""The view that rates models by the blind votes of whoever looks: their own votes alone."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.charts.ratings import ratings_figure, ratings_info
from core.vlm.numbers import points
from core.vlm.safe import csv_cell
from core.vlm.tasks import TASKS
from core.vlm.votes import Aside, why_aside
from pages.ui.session import on_private_machine, store, visitor
from pages.ui.text import plain
from pages.ui.vlm_state import PAGE

if TYPE_CHECKING:
    from core.vlm.ratings import Points, Rating, Ratings

ALL = "all"
CHUNK = 5_000
ASIDE: dict[Aside, str] = {
    "loopback": "an answer came from the loopback server",
    "not blind": "the names were not hidden",
    "named": "an answer names its maker",
    "other": "another reason",
}
"""Why votes do not count, in words."""
SCALE_NOTE = (
    "400 points more are odds of 10 to 1; the mean of a group is 1,000. Bars hold the rating in 95 of 100 "
    "cases, and models whose bars overlap may share a rank."
)


def ratings_view() -> None:
    """Draw the ratings of each group of models that were compared."""
    task = _task()
    newest = store().votes(visitor(), limit=1)
    latest = newest[0].id if newest else 0
    groups = _rated(visitor(), task, latest)
    aside = _aside(visitor(), task, latest)
    if not groups:
        _empty(task)
        _aside_note(aside)
        return
    if len(groups) > 1:
        st.info(
            f"These models are in {len(groups)} groups that were never compared, not even by way of other "
            "models. Points and ranks count within a group. One vote across two groups joins them.",
            icon=":material/call_split:",
        )
    for number, group in enumerate(groups):
        _group(group, number, len(groups))
    _aside_note(aside)
    _whose()
    _downloads(groups, task, aside)


def _task() -> str | None:
    """Draw the choice of tasks; return one, or None for all."""
    chosen = st.selectbox(
        "Votes on the task",
        [ALL, *TASKS],
        format_func=lambda name: "All tasks" if name == ALL else TASKS[name].title,
        key=f"{PAGE}_ratings_task",
        persist_state="session",
        width=320,
    )
    return None if chosen == ALL else str(chosen)


@st.cache_data(show_spinner="Rating …", max_entries=64)
def _rated(owner: str, task: str | None, latest: int) -> tuple[Ratings, ...]:
    """Return the ratings by an owner's votes; `latest` is the id of their last one."""
    from core.vlm.ratings import rate_groups

    return rate_groups(store().vote_tallies(owner, task=task))


@st.cache_data(show_spinner=False, max_entries=64)
def _aside(owner: str, task: str | None, latest: int) -> dict[Aside, int]:
    """Count an owner's votes that do not count, by why."""
    found: Counter[Aside] = Counter()
    start = 0
    while votes := store().votes(owner, limit=CHUNK, offset=start):
        found.update(why_aside(vote) for vote in votes if task in (None, vote.task))
        start += len(votes)
    return {why: found[why] for why in ASIDE if found[why]}


def _empty(task: str | None) -> None:
    """Say how votes come about."""
    where = "" if task is None else f" on the task {TASKS[task].title}"
    st.info(
        f"No vote{where} counts yet.\n\n**How to vote:** turn on Blind in the view Compare, choose models "
        "and ask. Two of them answer without names. Press what is better: left, right, tie or both bad. The "
        "names appear with your vote, and the models are rated here.",
        icon=":material/how_to_vote:",
    )
    st.button("Vote blind", icon=":material/visibility_off:", on_click=_vote_blind, key=f"{PAGE}_to_vote")


def _vote_blind() -> None:
    from pages.ui.vlm_page import COMPARE  # which imports this module

    st.session_state[f"{PAGE}_view"] = COMPARE
    st.session_state[f"{PAGE}_blind"] = True


def _group(group: Ratings, number: int, of: int) -> None:
    """Draw one group: the sentence about its first place, the chart and the table."""
    if of > 1:
        st.subheader(f"Group {number + 1} of {of}", anchor=False)
    st.markdown(f"**{plain(group.sentence)}**")
    st.caption(_about(group) if number else f"{_about(group)} {SCALE_NOTE}")
    st.plotly_chart(
        ratings_figure(ratings_info(group.models)),
        key=f"{PAGE}_ratings_chart_{number}",
        config={"displayModeBar": False},
    )
    st.dataframe(
        _frame(group),
        hide_index=True,
        alt="Points, intervals and votes of each model",
        key=f"{PAGE}_ratings_table_{number}",
        column_config={
            "Model": st.column_config.TextColumn(width="medium"),
            "Points": st.column_config.NumberColumn(format="%.0f", help="By the votes as they are."),
            "At equal length": st.column_config.NumberColumn(
                format="%.0f", help="What the votes would be between answers with equally many words."
            ),
        },
    )


def _about(group: Ratings) -> str:
    """Return what else is to be known of a group."""
    gained = points(abs(group.longer_by))
    longer = "gains" if group.longer_by >= 0 else "loses"
    return (
        f"{group.votes:,} votes. By these, an answer twice as long as the other {longer} {gained} points: "
        "the second rating takes that out."
    )


def _frame(group: Ratings) -> Any:
    import pandas as pd

    return pd.DataFrame([_cells(model) for model in group.models])


def _cells(model: Rating) -> dict[str, object]:
    return {
        "Rank": model.rank,
        "Model": model.model_id,
        "Points": model.raw.value,
        "95 % interval": _interval(model.raw),
        "At equal length": model.length_controlled.value,
        "95 % at equal length": _interval(model.length_controlled),
        "Votes": model.votes,
        "Wins": model.wins,
        "Losses": model.losses,
        "Ties": model.ties,
        "Both bad": model.both_bad,
    }


def _interval(found: Points) -> str:
    return f"{found.low:,.0f} to {found.high:,.0f}"


def _aside_note(aside: dict[Aside, int]) -> None:
    """Say how many votes do not count, and why."""
    if not aside:
        return
    total = sum(aside.values())
    reasons = ", ".join(f"{count:,} because {ASIDE[why]}" for why, count in aside.items())
    st.caption(
        f":material/info: {total:,} vote{'s are' if total > 1 else ' is'} set aside and not in these "
        f"ratings: {reasons}."
    )


def _whose() -> None:
    whose = "on this machine" if on_private_machine() else "in this session; nobody else's are in them"
    st.caption(f"Rated are the votes that were cast {whose}. What judges said is never a vote.")


def _downloads(groups: Sequence[Ratings], task: str | None, aside: dict[Aside, int]) -> None:
    with st.container(horizontal=True):
        for label, name, media_type, make in (
            ("Ratings (CSV)", "ratings.csv", "text/csv", partial(ratings_csv, groups)),
            (
                "Ratings (JSON)",
                "ratings.json",
                "application/json",
                partial(ratings_json, groups, task, aside),
            ),
        ):
            st.download_button(
                label,
                make,
                name,
                media_type,
                icon=":material/download:",
                on_click="ignore",
                key=f"{PAGE}_{name}",
            )


def ratings_csv(groups: Sequence[Ratings]) -> bytes:
    """Return a row for each model; no cell is taken for a formula by a spreadsheet."""
    rows = [_row(model) for group in groups for model in group.models]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue().encode()


def ratings_json(groups: Sequence[Ratings], task: str | None, aside: dict[Aside, int]) -> bytes:
    """Return the groups with all their numbers, the task (null is all), and what was set aside."""
    found = {
        "task": task,
        "set_aside": aside,
        "groups": [
            {
                "votes": group.votes,
                "sentence": group.sentence,
                "more_votes": group.more_votes,
                "longer_by": group.longer_by,
                "lead": None if group.lead is None else _bounds("points", group.lead),
                "models": [_row(model) for model in group.models],
            }
            for group in groups
        ],
    }
    return json.dumps(found, ensure_ascii=False, indent=1).encode()


def _row(model: Rating) -> dict[str, object]:
    return {
        "group": model.group,
        "rank": model.rank,
        "model": model.model_id,
        **_bounds("points", model.raw),
        **_bounds("length_controlled", model.length_controlled),
        "votes": model.votes,
        "wins": model.wins,
        "losses": model.losses,
        "ties": model.ties,
        "both_bad": model.both_bad,
    }


def _bounds(name: str, found: Points) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
