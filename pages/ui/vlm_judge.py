"""A model as judge of two answers: asked when a person wants it, shown with all it said, never a vote."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import InputError, VisionBenchError
from core.vlm.judge import check_pinned, kin_of
from db.errors import StoreError
from pages.ui.errors import show_error
from pages.ui.layout import run_footer
from pages.ui.session import store, visitor
from pages.ui.text import MISSING, milliseconds, plain
from pages.ui.vlm_card import OUTCOMES, PAGE_PATH
from pages.ui.vlm_keys import providers
from pages.ui.vlm_models import checked_model, local_models, remote_models
from pages.ui.vlm_run import keep_together
from pages.ui.vlm_state import PAGE, Comparison, Turn
from pages.ui.vlm_text import answer_text

if TYPE_CHECKING:
    from core.vlm.judging import Contestant
    from db.records import RunRecord

SHIPPED = "shipped/"
"""Models of this repository answer about scenes and can judge nothing."""


def judge_view(comparison: Comparison) -> None:
    """Draw the choice of a judge and what judges made of these answers."""
    answered = [turn for turn in comparison.turns if turn.is_ok]
    if len(answered) < 2:
        return
    with st.expander("Ask a judge", icon=":material/gavel:", expanded=bool(comparison.judged)):
        st.caption(
            "Another model reads the question and two answers, looks at the picture, and says which one is "
            "better. It is asked twice, once in each order, and only what holds in both is a verdict. "
            "Judges err, and their verdicts never count as votes."
        )
        if comparison.image is None:
            st.info("The picture was not kept, so no judge can look at it.", icon=":material/image:")
        else:
            _choice(comparison, answered)
        for run_id in reversed(comparison.judged):
            with suppress(StoreError):  # deleted since
                _verdict(store().run(run_id, visitor()))


def _choice(comparison: Comparison, answered: list[Turn]) -> None:
    """Draw judge and pair, and ask where that is wanted."""
    judge_id = _judge_picker()
    pair = _pair_picker(answered)
    if judge_id is None:
        return
    _kin_note(judge_id, kin_of(judge_id, (pair[0].model_id, pair[1].model_id)))
    if st.button("Ask the judge", icon=":material/gavel:", key=f"{PAGE}_judge_ask"):
        try:
            with st.spinner(f"Asking {plain(judge_id)} in both orders …"):
                comparison.judged.append(_ask(comparison, judge_id, pair))
            keep_together(comparison)
        except (VisionBenchError, StoreError) as error:
            show_error(error)


def _judge_picker() -> str | None:
    """Draw the choice of the judge; return its id, or None where there is none that may be asked."""
    local = [model_id for model_id in local_models() if not model_id.startswith(SHIPPED)]
    chosen = st.selectbox(
        "Judge",
        [model_id for model_id in (*local, *remote_models()) if _is_pinned(model_id)],
        index=None,
        accept_new_options=True,
        key=f"{PAGE}_judge",
        persist_state="session",
        placeholder="Choose a model, or type PROVIDER/ID",
        help="An id that always means the same model: with its version or date, not `latest`. Each order is "
        "one call that is paid for like any other.",
    )
    if not chosen:
        return None
    try:
        judge_id = checked_model(str(chosen).strip())
        check_pinned(judge_id)
    except InputError as error:
        show_error(error)
        return None
    if judge_id.startswith(SHIPPED):
        st.info("The shipped captioners know scenes only; choose another judge.", icon=":material/gavel:")
        return None
    return judge_id


def _is_pinned(model_id: str) -> bool:
    with suppress(InputError):
        check_pinned(model_id)
        return True
    return False


def _pair_picker(answered: list[Turn]) -> tuple[Turn, Turn]:
    """Return the two answers that are judged; draw the choice where there are more."""
    pairs = list(combinations(range(len(answered)), 2))
    chosen = pairs[0]
    if len(pairs) > 1:
        chosen = st.selectbox(
            "Judge the answers of",
            pairs,
            format_func=lambda two: " and ".join(answered[i].model_id for i in two),
            key=f"{PAGE}_judge_pair",
        )
    return answered[chosen[0]], answered[chosen[1]]


def _kin_note(judge_id: str, kin: tuple[str, ...]) -> None:
    """Say plainly where the judge is of a contestant's family."""
    if kin:
        st.warning(
            f"{plain(judge_id)} is of the same family as {plain(' and '.join(kin))}. Judges tend to prefer "
            "their own kind: read the verdict with that in mind, or choose another judge.",
            icon=":material/family_restroom:",
        )


def _ask(comparison: Comparison, judge_id: str, pair: tuple[Turn, Turn]) -> str:
    """Ask the judge and return the id of its run.

    Raises:
        VisionBenchError: It cannot be asked.
        StoreError: The run cannot be kept.
    """
    from core.vlm.judging import judge_answers

    image, put = comparison.image, comparison.put
    if image is None:
        raise InputError("The picture was not kept.", "Choose it again and ask anew.")
    judged = judge_answers(
        image,
        judge_id,
        put.task,
        put.prompt,
        put.references,
        (_contestant(pair[0]), _contestant(pair[1])),
        providers=providers(),
        sink=store(),
        owner=visitor(),
    )
    return judged.run_id


def _contestant(turn: Turn) -> Contestant:
    from core.vlm.judging import Contestant

    shown = turn.shown
    if shown is None:
        raise InputError(f"{turn.model_id} has not answered.", "Ask it again.")
    return Contestant(shown.run.id, shown.run.model_id, shown.text)


def _verdict(run: RunRecord) -> None:
    """Draw what a judge made of two answers, with both rulings and all it said."""
    told = run.parameters
    one, two = (str(model_id) for model_id in told["models"])
    with st.container(border=True):
        st.markdown(f"**{plain(run.model_id)}** on {plain(one)} and {plain(two)}")
        if told.get("loopback"):
            st.warning("loopback server: this is the test server's word.", icon=":material/science:")
        _decision(run, one, two)
        _kin_note(run.model_id, tuple(str(model_id) for model_id in told.get("kin") or ()))
        _rulings(run, one, two)
        st.caption(" · ".join(f"{name} {value}" for name, value in _facts(run).items()))
        run_footer(run.id, PAGE_PATH, plain(run.environment.device), {"both orders": run.duration_ms or 0.0})


def _decision(run: RunRecord, one: str, two: str) -> None:
    choice = run.parameters.get("choice")
    if choice is None:
        st.warning(f"No verdict. {plain(str(run.parameters.get('reason', '')))}", icon=":material/balance:")
    elif choice == "tie":
        st.success("Verdict: both are equally good, in both orders.", icon=":material/balance:")
    else:
        better = one if choice == "first" else two
        st.success(f"Verdict: {plain(better)} is better, in both orders.", icon=":material/gavel:")


def _rulings(run: RunRecord, one: str, two: str) -> None:
    """Draw what the judge said in each order, as text."""
    from core.vlm.judging import RULINGS

    names = {"first": f"{plain(one)} is better", "second": f"{plain(two)} is better", "tie": "equally good"}
    kept = {file.name for file in run.artifacts}
    told = run.parameters
    orders = zip(st.columns(2), RULINGS, told["rulings"], told["outcomes"], (one, two), strict=True)
    for column, name, ruling, outcome, first in orders:
        with column:
            title = OUTCOMES.get(str(outcome), (str(outcome), ""))[0]
            said = names.get(str(ruling)) or ("no ruling" if outcome == "ok" else plain(title.lower()))
            st.markdown(f"With {plain(first)} as A: **{said}**")
            if name in kept:
                answer_text(st.empty(), store().artifact(run.id, name, visitor()).decode())
            else:
                st.caption("It said nothing.")


def _facts(run: RunRecord) -> dict[str, str]:
    """Return what asking took, for both orders together."""
    usd = run.metric("cost_usd")
    tokens = {name: run.metric(f"{name}_tokens") for name in ("input", "output")}
    return {
        "Cost": "unknown" if usd is None else "nothing" if usd == 0 else f"${usd:.6f}".rstrip("0"),
        "Tokens in": MISSING if tokens["input"] is None else f"{tokens['input']:.0f}",
        "Tokens out": MISSING if tokens["output"] is None else f"{tokens['output']:.0f}",
        "Total": milliseconds(run.metric("total_ms")),
    }
