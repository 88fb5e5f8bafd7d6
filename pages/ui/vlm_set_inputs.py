"""Who is asked what of a data set, and how far that may go."""

from __future__ import annotations

import streamlit as st

from core.errors import InputError
from core.vlm.setrun.plan import DEFAULT_CONCURRENCY, Plan
from core.vlm.tasks import TASKS
from pages.ui.errors import show_error
from pages.ui.vlm_models import models_picker
from pages.ui.vlm_set_data import NAME, Given

MOST_MODELS = 8
FIRST_TASKS = ("objects", "question")
FIRST_USD, FIRST_CALLS = 1.0, 1000


def plan_picker(given: Given) -> Plan | None:
    """Draw models, tasks, prompts and limits; return the plan, or None while it cannot be run."""
    try:
        models = models_picker(f"{NAME}_models", MOST_MODELS, f"Choose one to {MOST_MODELS} models")
    except InputError as error:
        show_error(error)
        return None
    tasks = _tasks(given)
    prompts = _prompts(given, tasks)
    usd, calls = budget_picker(NAME, FIRST_USD, FIRST_CALLS)
    concurrency, max_tokens = _limits()
    if not models or not tasks:
        st.caption("Choose a model and a task; then you see what it will take.")
        return None
    if missing := next((task for task in _needed(given, tasks) if task not in prompts), ""):
        st.caption(f"Type the prompt of {TASKS[missing].title}, or leave this task out.")
        return None
    try:
        return Plan(given.items, models, tasks, prompts, max_tokens, usd, calls, concurrency)
    except InputError as error:
        show_error(error)
        return None


def _tasks(given: Given) -> tuple[str, ...]:
    offered = given.tasks
    first = [task for task in FIRST_TASKS if task in offered] if offered == tuple(TASKS) else list(offered)
    key = f"{NAME}_tasks_{'_'.join(offered)}"
    chosen = st.pills(
        "Tasks",
        offered,
        selection_mode="multi",
        default=None if key in st.session_state else first,
        format_func=lambda task: TASKS[task].title,
        key=key,
        persist_state="session",
    )
    return tuple(task for task in offered if task in chosen)


def _prompts(given: Given, tasks: tuple[str, ...]) -> dict[str, str]:
    """Draw the prompts that are needed, and behind a button those that may be changed."""
    needed = _needed(given, tasks)
    found = {task: _prompt(task, "Type what is asked about every picture") for task in needed}
    with st.popover("Prompts", icon=":material/edit_note:", type="tertiary"):
        st.caption("A picture's own prompt, where the data set has one, goes before these.")
        for task in (task for task in tasks if task not in needed):
            found[task] = _prompt(task, TASKS[task].prompt or "As the data set asks")
    return {task: prompt for task, prompt in found.items() if prompt}


def _needed(given: Given, tasks: tuple[str, ...]) -> list[str]:
    """Return the tasks whose prompt neither the data set nor the task itself has."""
    return [task for task in tasks if not TASKS[task].prompt and given.items.unprompted(task)]


def _prompt(task: str, placeholder: str) -> str:
    return st.text_area(
        f"Prompt: {TASKS[task].title}",
        key=f"{NAME}_prompt_{task}",
        persist_state="session",
        height=68,
        placeholder=placeholder,
    ).strip()


def budget_picker(prefix: str, usd: float | None, calls: int | None) -> tuple[float | None, int | None]:
    """Draw the two limits of a budget; None is none.

    Args:
        prefix: Of the widget keys.
        usd, calls: What they start with.
    """
    st.session_state.setdefault(f"{prefix}_usd", usd)  # a value of the widget's own could not be emptied
    st.session_state.setdefault(f"{prefix}_calls", calls)
    one, two = st.columns(2)
    money = one.number_input(
        "Most money (US dollars)",
        0.0,
        None,
        None,
        step=0.5,
        format="%.2f",
        key=f"{prefix}_usd",
        persist_state="session",
        placeholder="no limit",
        help="Never passed: a call begins only where the most that it may cost is left. Models of this "
        "machine cost nothing.",
    )
    number = two.number_input(
        "Most calls",
        0,
        None,
        None,
        key=f"{prefix}_calls",
        persist_state="session",
        placeholder="no limit",
        help="Needed where the price of a model is unknown.",
    )
    return money, None if number is None else int(number)


def _limits() -> tuple[int, int]:
    one, two = st.columns(2)
    concurrency = one.number_input(
        "Calls at once, for each provider",
        1,
        64,
        DEFAULT_CONCURRENCY,
        key=f"{NAME}_concurrency",
        persist_state="session",
        help="This machine's own models answer one question at a time.",
    )
    max_tokens = two.number_input(
        "Most tokens of an answer",
        1,
        65_536,
        512,
        key=f"{NAME}_max_tokens",
        persist_state="session",
        help="What a model spends on thinking counts. An answer that reaches it is a failure: cut short.",
    )
    return int(concurrency), int(max_tokens)
