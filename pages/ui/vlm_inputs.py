"""What is asked: the task, its prompt, and what is true."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

import streamlit as st

from core.images import ImageInput
from core.samples import SCENE_PREFIX
from core.scenes import Scene, generate_scene
from core.vlm.tasks import TASKS, truth_of
from pages.ui import state
from pages.ui.pictures import is_sample
from pages.ui.vlm_state import PAGE, Put

TASK = f"{PAGE}_task"
FIRST_TASK = "objects"
OWN = "A question of my own"


@lru_cache(maxsize=8)
def _scene(seed: int) -> Scene:
    return generate_scene(seed)


def scene_of(image: ImageInput) -> Scene | None:
    """Return the scene whose picture this is, or None."""
    if image.name.startswith(SCENE_PREFIX) and is_sample(image.name, image.sha256):
        return _scene(int(image.name.removeprefix(SCENE_PREFIX)))
    return None


def put_picker(image: ImageInput) -> Put | None:
    """Draw task, prompt and truth; return what is to be asked, or None while the prompt is empty."""
    task = st.selectbox(
        "Task",
        list(TASKS),
        index=list(TASKS).index(FIRST_TASK),
        format_func=lambda name: TASKS[name].title,
        key=TASK,
        persist_state="session",
    )
    known = _known(image, task)
    prompt, known_references = _prompt(task, known)
    references = _truth(image, task, prompt, known_references)
    most = st.session_state.get(f"{PAGE}_max_tokens", 1024)
    return Put(task, prompt, references, most) if prompt.strip() else None


def _known(image: ImageInput, task: str) -> dict[str, tuple[str, ...]]:
    """Return the prompts whose answer is known exactly, each with its references."""
    scene = scene_of(image)
    return dict(truth_of(scene, task)) if scene is not None else {}


def _prompt(task: str, known: dict[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    """Draw the prompt; return it and its references where those are known."""
    if task == "question" and known:
        asked = st.selectbox(
            "Question", [*known, OWN], key=f"{PAGE}_question", persist_state="session", index=0
        )
        if asked in known:
            return asked, known[asked]
    first = next(iter(known), TASKS[task].prompt) if task != "question" else ""
    prompt = st.text_area(
        "Prompt",
        value=first,
        key=_prompt_key(task),
        persist_state="session",
        height=68,
        placeholder="Type what you want to ask about the picture",
    )
    return prompt, known.get(prompt, ())


def _prompt_key(task: str) -> str:
    return f"{PAGE}_prompt_{task}"


def _truth(image: ImageInput, task: str, prompt: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Draw what is true, filled in where it is known exactly; return one reference for each line."""
    if not TASKS[task].scored:
        return ()
    text = st.text_area(
        "Truth" + (" (exact, from the scene)" if known else ""),
        value="\n".join(known),
        key=_truth_key(image, task, prompt),
        persist_state="session",
        height=68,
        placeholder="One right answer a line; leave it empty and nothing is scored",
    )
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _truth_key(image: ImageInput, task: str, prompt: str) -> str:
    """Return the key of the truth for one question: another picture or prompt has another truth."""
    return f"{PAGE}_truth_{task}_{sha256(f'{image.sha256}{prompt}'.encode()).hexdigest()[:12]}"


def limits_picker() -> None:
    """Draw the limit of an answer."""
    st.number_input(
        "Most tokens of an answer",
        1,
        65_536,
        1024,
        key=f"{PAGE}_max_tokens",
        persist_state="session",
        help="What a model spends on thinking counts. An answer that reaches it is a failure: cut short.",
    )


def show_put(image: ImageInput, put: Put) -> None:
    """Set the inputs to a question that was asked before, before they are drawn."""
    asked = st.session_state
    asked[TASK] = put.task
    asked[f"{PAGE}_max_tokens"] = put.max_tokens
    known = _known(image, put.task)
    if put.task == "question" and known:
        asked[f"{PAGE}_question"] = put.prompt if put.prompt in known else OWN
    asked[_prompt_key(put.task)] = put.prompt
    asked[_truth_key(image, put.task, put.prompt)] = "\n".join(put.references)
    state.VLM_START.clear()
