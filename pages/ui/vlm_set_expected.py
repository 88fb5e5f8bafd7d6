"""What a planned run will take and cost, before anybody is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from core.vlm.prices import price_table
from core.vlm.setrun.estimate import Estimate, Past, estimate
from core.vlm.setrun.plan import Plan
from db.records import RunFilter, RunRecord
from pages.ui import state
from pages.ui.session import store, visitor
from pages.ui.text import plain
from pages.ui.vlm_set_words import duration, money

if TYPE_CHECKING:
    from core.vlm.setrun.estimate import ModelEstimate

LOOKED_AT = 30
"""Earlier answers of a model that tell what the next ones take."""


def expected(plan: Plan) -> Estimate:
    """Return what a plan will take, worked out once for each plan."""
    answers = store().count(RunFilter(owner=visitor(), kinds=("vlm",)))
    key = json.dumps([plan.to_json(), answers])
    held = state.VLM_SET_EXPECTED.get()
    if held is None or held[0] != key:
        past = {model: past for model in plan.models if (past := _past(model))}
        found = estimate(plan, price_table(), datetime.now(UTC).date(), past)
        held = state.VLM_SET_EXPECTED.set((key, found))
    return held[1]


def _past(model: str) -> Past | None:
    where = RunFilter(owner=visitor(), kinds=("vlm",), models=(model,), statuses=("ok",))
    runs = list(store().export(where, limit=LOOKED_AT))
    if not runs:
        return None
    return Past(len(runs), _mean(runs, "input_tokens"), _mean(runs, "output_tokens"), _mean(runs, "total_ms"))


def _mean(runs: Sequence[RunRecord], name: str) -> float | None:
    values = [value for run in runs if (value := run.metric(name)) is not None]
    return sum(values) / len(values) if values else None


def show_expected(plan: Plan, found: Estimate) -> None:
    """Draw calls, tokens, cost and time, and what stands against them."""
    tokens_in, tokens_out = found.tokens
    parts = [
        f"**{found.calls:,} calls**",
        f"about {tokens_in:,} tokens in, {tokens_out:,} out",
        f"cost **{_cost(found.usd, found.most_usd)}**",
        f"time **{'unknown' if found.seconds is None else f'about {duration(found.seconds)}'}**",
    ]
    st.markdown(" · ".join(parts).replace("$", "\\$"))
    if found.unpriced:
        _unpriced(plan, found.unpriced)
    if plan.budget_usd is not None and found.usd is not None and found.usd > plan.budget_usd:
        st.warning(
            "This will probably cost more than the most money. The run ends when the next call might pass "
            "it; what is done by then stays.",
            icon=":material/payments:",
        )
    if plan.budget_calls is not None and plan.budget_calls < found.calls:
        st.warning(
            f"Only {plan.budget_calls:,} of the {found.calls:,} calls will be made.",
            icon=":material/production_quantity_limits:",
        )
    with st.expander("For each model"):
        st.markdown("\n".join([*HEAD, *(_row(model) for model in found.models)]))
        for basis in dict.fromkeys(model.basis for model in found.models):
            models = ", ".join(plain(model.model_id) for model in found.models if model.basis == basis)
            st.caption(f"{models}: {basis}")


def _unpriced(plan: Plan, models: Sequence[str]) -> None:
    """Say which limit holds where prices are unknown."""
    draw, so = st.info, "what they cost is not known."
    if plan.budget_usd is not None and plan.budget_calls is not None:
        so = "the limit of money cannot hold for them, the limit of calls does."
    elif plan.budget_usd is not None:
        draw, so = st.warning, "the limit of money cannot hold for them. Set a limit of calls, too."
    names = ", ".join(plain(model) for model in models)
    draw(f"No price for {names}: {so}", icon=":material/payments:")


HEAD = ("| Model | Calls | Tokens in | Tokens out | Cost |", "|---|---|---|---|---|")


def _row(model: ModelEstimate) -> str:
    cost = _cost(model.usd, model.most_usd).replace("$", "\\$")
    tokens = f"{model.input_tokens:,} | {model.output_tokens:,}"
    return f"| {plain(model.model_id)} | {model.calls:,} | {tokens} | {cost} |"


def _cost(usd: float | None, most: float | None) -> str:
    if usd is None or usd == 0:
        return money(usd)
    return f"about {money(usd)}" + (f", at most {money(most)}" if most is not None else "")
