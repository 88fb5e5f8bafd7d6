"""What stands under an answer: what became of it, its score, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui.layout import run_footer
from pages.ui.text import MISSING, milliseconds, plain
from pages.ui.vlm_state import Shown

if TYPE_CHECKING:
    from core.vlm.scoring.values import Scored, Value

PAGE_PATH = "pages/vlm_head_to_head.py"
OUTCOMES = {
    "ok": ("Answered", ""),
    "blocked": ("Withheld by the provider's filter", "Ask in other words, or about another picture."),
    "truncated": ("Cut short at the limit of tokens", "Raise the limit under Limits and ask again."),
    "empty": ("Ended without a word", "Ask again, or in other words."),
    "refused": ("The model declined", "Ask in other words."),
    "rate_limited": ("Too many requests", "Wait a little and ask again."),
    "auth": ("The key was refused", "Check the key under Keys of remote models."),
    "quota": ("The quota or the credit is used up", "Raise it with the provider, or use another key."),
    "model_gone": ("The provider has no such model", "List its models and choose one of them."),
    "bad_request": ("The provider refused the request", "Try a smaller picture, or a shorter prompt."),
    "server_error": ("The provider failed", "Ask again later."),
    "timeout": ("No answer in time", "Ask again, or another model."),
    "network": ("The connection failed", "Check the network and ask again."),
    "malformed": ("What came is no answer", "Ask again; if it stays so, check the address of the provider."),
    "cancelled": ("Cancelled", "Ask again when you want it."),
}
"""Outcome to plain words and what a person can do, where the provider did not say it better."""


def outcome(shown: Shown) -> None:
    """Draw what became of the question, and another model than the one asked."""
    title, remedy = OUTCOMES.get(shown.outcome, (shown.outcome, ""))
    if shown.is_ok:
        st.badge(title, icon=":material/check_circle:", color="green")
    else:
        said = f"\n\n{plain(shown.run.error_message)}" if shown.run.error_message else ""
        todo = f"\n\n**What to do:** {remedy}" if remedy and not shown.run.error_message else ""
        place = st.info if shown.outcome == "cancelled" else st.error
        kept = "\n\nThe text above is what came before; it is no answer." if shown.text else ""
        place(f"**{title}**{said}{todo}{kept}", icon=":material/error:")
    returned, requested = str(shown.parameter("returned") or ""), str(shown.parameter("requested") or "")
    if returned and returned != requested.partition("/")[2] and returned != requested:
        st.warning(f"Answered by {plain(returned)}, not by the model asked.", icon=":material/swap_horiz:")
    if note := shown.parameter("note"):
        st.caption(plain(str(note)))


def scored(shown: Shown) -> Scored | None:
    """Return the score of a stored answer; None where it is no answer or nothing is known to be true."""
    references = tuple(str(one) for one in shown.parameter("references") or ())
    if not shown.is_ok or not references:
        return None
    from core.vlm.scoring import score

    return score(str(shown.parameter("task")), shown.text, references)


def scores(shown: Shown) -> None:
    """Draw how good an answer is against the truth."""
    found = scored(shown)
    if found is None:
        return
    main = found.main_value
    right = "" if found.right is None else "Right" if found.right else "Wrong"
    said = [right, f"{main.title} {main.value:.2f}"]
    st.markdown(f"**{' · '.join(plain(part) for part in said if part)}**", help=_help(main))
    lines = [
        f"{title} {' '.join(f':{colour}-badge[{plain(name)}]' for name in names) or MISSING}"
        for title, colour, names in _objects(found)
    ]
    if lines:
        st.markdown("  \n".join(lines))
    others = [value for value in found.values if value is not main]
    if others:
        st.caption(" · ".join(f"{plain(value.title)} {value.value:.2f}" for value in others))
    truth = ", ".join(plain(str(one)) for one in shown.parameter("references"))
    st.caption(f"Truth: {truth}")
    if found.note:
        st.caption(plain(found.note))


def _help(value: Value) -> str:
    better = "higher is better" if value.higher_is_better else "lower is better"
    return plain(f"Range {value.unit}, {better}. {value.note}".strip())


def _objects(found: Scored) -> Sequence[tuple[str, str, Sequence[str]]]:
    details = found.objects
    if details is None:
        return ()
    return (
        ("Matched", "green", details.matched),
        ("Missed", "orange", details.missed),
        ("Hallucinated", "red", details.hallucinated),
    )


def numbers(shown: Shown) -> None:
    """Draw times, tokens and cost, the attempts, and where it is stored."""
    rows = [f"| {name} | {value} |" for name, value in facts(shown).items()]
    st.markdown("\n".join(["| Measured | |", "|---|---|", *rows]))
    _attempts(shown.parameter("attempts") or ())
    run = shown.run
    times = {"load": run.metric("load_ms") or 0.0, "answer": run.metric("total_ms") or run.duration_ms or 0.0}
    device = run.environment.device
    run_footer(run.id, PAGE_PATH, plain(device), {name: ms for name, ms in times.items() if ms})


def facts(shown: Shown) -> Mapping[str, str]:
    """Return the numbers of an answer in words, by name."""
    run = shown.run
    speed = run.metric("tokens_per_s")
    found = {
        "First token": milliseconds(run.metric("ttft_ms")),
        "Total": milliseconds(run.metric("total_ms")),
        "Speed": MISSING if speed is None else f"{speed:.1f} tokens/s",
        "Tokens in": _tokens(run.metric("input_tokens"), run.metric("image_tokens"), "picture"),
        "Tokens out": _tokens(run.metric("output_tokens"), run.metric("reasoning_tokens"), "thinking"),
        "Cost": cost_text(shown),
    }
    if load_ms := run.metric("load_ms"):
        found["Loading before"] = milliseconds(load_ms)
    return found


def _tokens(total: float | None, part: float | None, name: str) -> str:
    if total is None:
        return MISSING
    return f"{total:.0f}" if part is None else f"{total:.0f}, {part:.0f} of them {name}"


def cost_text(shown: Shown) -> str:
    """Return what an answer cost; `unknown` where that is not known."""
    cost = shown.parameter("cost")
    if not isinstance(cost, Mapping) or cost.get("usd") is None:
        return "unknown"
    usd = float(cost["usd"])
    day = f", price of {cost['as_of']}" if cost.get("as_of") else ""
    return "nothing" if usd == 0 else f"${usd:.6f}".rstrip("0") + day


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    """Draw the requests one by one; one that went well says nothing more than the numbers do."""
    if len(attempts) <= 1:
        return
    with st.expander(f"{len(attempts)} attempts"):
        for attempt in attempts:
            title, _ = OUTCOMES.get(str(attempt["outcome"]), (str(attempt["outcome"]), ""))
            parts = [f"{attempt['number']}. {title}", milliseconds(attempt.get("total_ms"))]
            if attempt.get("wait_ms"):
                parts.append(f"after waiting {milliseconds(attempt['wait_ms'])}")
            if attempt.get("status"):
                parts.append(f"HTTP {attempt['status']}")
            if attempt.get("message"):
                parts.append(plain(str(attempt["message"])))
            st.caption(" · ".join(parts))
