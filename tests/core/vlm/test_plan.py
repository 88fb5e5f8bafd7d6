"""Plans and estimates by value: which calls there are, and what they will take and may cost at most."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.vlm.base import Usage
from core.vlm.datasets import scene_items
from core.vlm.datasets.pictures import Pictures
from core.vlm.datasets.table import read_table
from core.vlm.prices import Price, PriceTable, cost
from core.vlm.setrun.estimate import Past, estimate, most_image_tokens, most_usd, usual_image_tokens
from core.vlm.setrun.plan import Call, Plan

TODAY = date(2026, 6, 1)
PRICE = Price("openai", "ok", 1.0, 10.0, date(2026, 1, 1), "https://example.test")
PRICES = PriceTable((PRICE,))
SCENES = scene_items(10, 1)
PLAN = Plan(SCENES, ("openai/ok", "compatible/ok", "shipped/captioner-small"), ("ocr", "caption"))


def test_calls_go_item_by_item() -> None:
    plan = Plan(scene_items(2, 1), ("a/x", "b/y"), ("ocr", "caption"))
    expected = [
        Call(model, task, item)
        for item in ("scene-1-0", "scene-1-1")
        for task in ("ocr", "caption")
        for model in ("a/x", "b/y")
    ]
    assert list(plan.calls()) == expected
    assert plan.count == 8


def test_only_the_tasks_that_a_table_asks() -> None:
    pictures = Pictures("set", "d", frozenset({"a.png", "b.png"}), lambda path: b"")
    items = read_table(b"image,task\na.png,ocr\nb.png,ocr\nb.png,caption\n", "t.csv", pictures)
    assert [call[1:] for call in Plan(items, ("a/x",), ("caption", "ocr")).calls()] == [
        ("ocr", "a.png"),
        ("caption", "b.png"),
        ("ocr", "b.png"),
    ]
    with pytest.raises(InputError, match="asks the task objects of no picture"):
        Plan(items, ("a/x",), ("objects",))


def test_a_plan_comes_back_from_its_parameters() -> None:
    plan = replace(
        PLAN, prompts={"ocr": "Read."}, budget_usd=1.5, budget_calls=7, max_tokens=99, concurrency=9
    )
    again = Plan.from_json(plan.to_json(), SCENES)
    assert again.to_json() == plan.to_json()
    assert again.prompt_for(SCENES.at(0), "ocr") == "Read."
    assert again.prompt_for(SCENES.at(0), "question").endswith("one word.")
    with pytest.raises(InputError, match="is not the data set of this run"):
        Plan.from_json(plan.to_json(), scene_items(10, 2))


def test_unknown_stays_unknown_and_local_is_free() -> None:
    found = estimate(PLAN, PRICES, TODAY)
    priced, unknown, local = found.models
    assert found.calls == 60
    assert (unknown.usd, unknown.most_usd, found.usd, found.most_usd) == (None, None, None, None)
    assert found.unpriced == ("compatible/ok",)
    assert (local.usd, local.most_usd, local.seconds, found.seconds) == (0.0, 0.0, None, None)
    assert "time unknown" in local.basis
    assert priced.usd is not None and priced.most_usd is not None
    assert 0 < priced.usd < priced.most_usd
    assert "guessed by picture size and prompt" in priced.basis


def test_past_runs_are_taken_where_there_are_some() -> None:
    plan = Plan(SCENES, ("openai/ok",), ("ocr", "caption"), concurrency=5)
    found = estimate(plan, PRICES, TODAY, {"openai/ok": Past(123, 300.0, 40.0, 2000.0)})
    assert found.tokens == (20 * 300, 20 * 40)
    assert found.usd == pytest.approx(20 * (300 * 1.0 + 40 * 10.0) / 1e6)
    assert found.seconds == pytest.approx(20 * 2.0 / 5)
    assert "as in 123 earlier calls" in found.models[0].basis


@given(
    st.integers(1, 6000),
    st.integers(1, 6000),
    st.sampled_from(["gemini", "openai", "together", "compatible"]),
)
def test_the_most_for_a_picture_is_never_below_the_usual(width: int, height: int, provider: str) -> None:
    assert most_image_tokens(provider, width, height) >= usual_image_tokens(provider, width, height)


@given(st.text(min_size=1, max_size=200), st.integers(0, 512), st.floats(0, 1), st.booleans())
def test_no_call_within_the_bounds_costs_more_than_the_most(
    prompt: str, output: int, share: float, cached: bool
) -> None:
    price = replace(PRICE, image=2.0, cached=0.5)
    image = most_image_tokens("openai", 224, 224)
    inputs = image + len(prompt.encode())
    usage = Usage(inputs, round(image * share), (inputs - image) if cached else 0, output)
    charged, most = cost(price, usage), most_usd("openai/ok", price, prompt, (224, 224), 512)
    assert charged is not None and most is not None
    assert charged.usd <= most
    assert most_usd("openai/ok", price, prompt, (224, 224), 512, attempts=3) == pytest.approx(3 * most)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ()}, "No model is chosen"),
        ({"tasks": ()}, "No task is chosen"),
        ({"models": ("a/x", "a/x")}, "The model a/x is chosen twice"),
        ({"models": tuple(f"a/{i}" for i in range(21))}, "21 models were chosen"),
        ({"tasks": ("sing",)}, "There is no task 'sing'"),
        ({"tasks": ("free",)}, "has no prompt, and the task free has none of its own"),
        ({"budget_usd": -1.0}, "The budget is"),
        ({"budget_usd": float("nan")}, "The budget is"),
        ({"budget_calls": -1}, "The budget is -1 calls"),
        ({"concurrency": 0}, "0 calls at once"),
        ({"max_tokens": 0}, "limited to 0 tokens"),
    ],
)
def test_what_is_no_plan(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(PLAN, **change)  # type: ignore[arg-type]
    assert replace(PLAN, tasks=("free",), prompts={"free": "Well?"}).count == 30


def test_too_many_calls_are_refused() -> None:
    with pytest.raises(InputError, match="1,200,000 calls"):
        Plan(scene_items(100_000), ("a/x", "a/y", "a/z"), ("ocr", "caption", "objects", "question"))
