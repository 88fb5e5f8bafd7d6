"""The parts of the overview page."""

import os

import psutil
import streamlit as st

from core.environment import choose_device, processor_name
from core.registry import ModelSpec, available, catalog
from core.settings import settings
from db.records import RunFilter, RunSummary
from pages.ui.runs import PAGES
from pages.ui.session import on_private_machine, store, visitor
from pages.ui.text import STATUS_ICONS, ago, count, megabytes, milliseconds, plain

KEYS = {"Gemini": "GEMINI_API_KEY", "Together": "TOGETHER_API_KEY", "OpenAI": "OPENAI_API_KEY"}

CARDS_A_ROW = 4


def starting_points() -> None:
    """Draw one card for each task."""
    cards = [
        (
            "pages/attention_maps.py",
            "Look inside a ViT",
            "Choose a picture, click a patch, and see what each head of each layer attends to.",
            ":material/center_focus_strong:",
        ),
        (
            "pages/patch_similarity.py",
            "Match patches",
            "Click a patch in one picture and see what is like it in another, and how far to trust it.",
            ":material/compare:",
        ),
        (
            "pages/segment_anything.py",
            "Click to segment",
            "Click an object, correct its mask, see how good it is, and take it away in any format.",
            ":material/ads_click:",
        ),
        (
            "pages/vlm_head_to_head.py",
            "Ask several VLMs",
            "One question about one picture, up to four models: answer, score, time and price side by side.",
            ":material/forum:",
        ),
        (
            "pages/model_benchmark.py",
            "Measure models",
            "Times, memory and accuracy of models on this machine, each with how sure it is.",
            ":material/speed:",
        ),
        (
            "pages/model_recommender.py",
            "Choose a model",
            "What fits a task, a speed and a machine: why, how sure, and what to measure next.",
            ":material/recommend:",
        ),
        (
            "pages/history.py",
            "Go back to a run",
            "Filter, chart and export what has run here, and open any run again.",
            ":material/history:",
        ),
        (
            "pages/report.py",
            "Hand over a report",
            "What ran in a period, how fast, how good and at what cost, as a PDF or one HTML file.",
            ":material/summarize:",
        ),
    ]
    for start in range(0, len(cards), CARDS_A_ROW):
        row = cards[start : start + CARDS_A_ROW]
        for column, (page, title, text, icon) in zip(st.columns(CARDS_A_ROW), row, strict=False):
            with column.container(border=True, height="stretch"):
                st.page_link(page, label=f"**{title}**", icon=icon)
                st.caption(text)


def latest_runs() -> None:
    """Draw the visitor's five newest runs."""
    st.subheader("Latest runs", anchor=False)
    runs = store().runs(RunFilter(owner=visitor()), limit=5)
    if not runs:
        st.info(
            "Nothing has run yet. Open a page above: it starts with a sample picture.",
            icon=":material/start:",
        )
        return
    for run in runs:
        _run_line(run)
    total = store().count(RunFilter(owner=visitor()))
    st.page_link("pages/history.py", label=f"All {total} runs", icon=":material/arrow_forward:")


def _run_line(run: RunSummary) -> None:
    with st.container(border=True):
        text, link = st.columns([6, 1], vertical_alignment="center", wrap=False)
        text.markdown(
            f"{STATUS_ICONS[run.status]} **{plain(run.kind)}** · {plain(run.model_id)} · "
            f"{milliseconds(run.duration_ms)} · {ago(run.time)}"
        )
        if run.kind in PAGES:
            link.page_link(PAGES[run.kind], label="Open", query_params={"run": run.id})


def machine() -> None:
    """Draw what models run on here, and what is set up."""
    st.subheader("This machine", anchor=False)
    memory = psutil.virtual_memory()
    keys = [name for name, variable in KEYS.items() if os.environ.get(variable)]
    lines = {
        "Models run on": _device(),
        "Memory": f"{megabytes(memory.available / 1e6)} free of {megabytes(memory.total / 1e6)}",
        "API keys": ", ".join(keys) if keys else "none set; nothing here needs one yet",
        "Results": "PostgreSQL" if settings().database_url.startswith("postgres") else "a SQLite file",
        "Pictures": "kept with their runs" if settings().keep_pictures else "only digest and thumbnail kept",
        "Runs seen by": "everybody who reaches this address"
        if settings().access == "private"
        else "you, on this machine"
        if on_private_machine()
        else "you, in this session only",
    }
    st.markdown("  \n".join(f"**{name}**: {plain(value)}" for name, value in lines.items()))


def _device() -> str:
    choice = choose_device(settings().device)
    name = f"{processor_name()}, {os.cpu_count()} cores" if choice.device == "cpu" else choice.device
    return f"{name} ({choice.reason})"


def models() -> None:
    """Draw the models of the catalogue and which of them can run right now."""
    specs = catalog()
    ready = [available(spec) for spec in specs]
    st.subheader("Models", anchor=False)
    st.caption(
        f"{sum(ready)} of {len(specs)} can run right now. The others are fetched when they are first used, "
        "which needs a network."
    )
    # A Markdown table: a data frame would bring in 80 MB of libraries before anything has run.
    rows = ["| Model | Ready | Names classes | Parameters | Licence | Id |", "|---|---|---|---|---|---|"]
    rows += [
        _model_row(spec, is_ready)
        for spec, is_ready in sorted(zip(specs, ready, strict=True), key=lambda pair: not pair[1])
    ]
    with st.container(height=420):
        st.markdown("\n".join(rows))


def _model_row(spec: ModelSpec, is_ready: bool) -> str:
    yes = ":material/check_circle:"
    title = f"[{plain(spec.title)}]({spec.paper})" if spec.paper else plain(spec.title)
    cells = [
        title,
        yes if is_ready else "",
        yes if "classification" in spec.tasks else "",
        count(spec.parameters),
        plain(spec.license),
        plain(spec.id),
    ]
    return f"| {' | '.join(cells)} |"
