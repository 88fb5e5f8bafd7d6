"""What a plan will take and cost, and the most that one call may cost.

The first is a guess for a person, from past runs where there are some. The second holds for a budget: it is
never below what the provider may charge for a call, as far as its price and its way of counting are known.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from core.errors import InputError
from core.images import ImageInput
from core.vlm.base import Usage
from core.vlm.prices import MILLION, Price, PriceTable, cost
from core.vlm.setrun.plan import Plan, lane_of, provider_of

SAMPLE = 8
"""How many items are looked at."""
UNSEEN = (1024, 1024)
"""Pixels of a picture where none can be read."""
ANSWER_TOKENS = {"caption": 30, "question": 5, "ocr": 10, "objects": 20, "free": 200}
CHARACTERS_PER_TOKEN = 4
FRAME_TOKENS = 64
"""What a request has around prompt and picture, generously."""
START_S, TOKENS_PER_S = 1.0, 50.0
"""What a remote model takes where nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier calls of a model took, on average; None where it was not told."""

    calls: int
    input_tokens: float | None = None
    output_tokens: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in some items of a data set."""

    sizes: list[tuple[int, int]]
    """Width and height in pixels."""
    prompts: Mapping[str, list[str]]
    """By task."""

    @property
    def largest(self) -> tuple[int, int]:
        """Of the picture with most pixels."""
        return max(self.sizes, key=math.prod)

    def longest(self, task: str) -> str:
        """Of the prompts of a task."""
        return max(self.prompts[task], key=len)


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """What the calls of one model will take."""

    model_id: str
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    """None where its price is unknown."""
    most_usd: float | None
    """If each answer is as long as it may be."""
    seconds: float | None
    """One call after the other; None where nothing is known."""
    basis: str
    """What this rests on, in a sentence."""


@dataclass(frozen=True)
class Estimate:
    """What a plan will take."""

    models: tuple[ModelEstimate, ...]
    lanes: Mapping[str, int]
    """Most calls under way at once, by provider."""

    @property
    def calls(self) -> int:
        """Of all models."""
        return sum(model.calls for model in self.models)

    @property
    def tokens(self) -> tuple[int, int]:
        """Of all requests and of all answers."""
        return sum(m.input_tokens for m in self.models), sum(m.output_tokens for m in self.models)

    @property
    def usd(self) -> float | None:
        """Of all models; None where the price of one is unknown."""
        return _sum([model.usd for model in self.models])

    @property
    def most_usd(self) -> float | None:
        """The same if each answer is as long as it may be."""
        return _sum([model.most_usd for model in self.models])

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models whose price is unknown."""
        return tuple(model.model_id for model in self.models if model.usd is None)

    @cached_property
    def seconds(self) -> float | None:
        """Until the last call is done: providers work side by side, the calls of each as its limit allows."""
        lanes = []
        for lane, limit in self.lanes.items():
            total = _sum([model.seconds for model in self.models if lane_of(model.model_id) == lane])
            lanes.append(None if total is None else total / limit)
        return None if None in lanes else max((lane for lane in lanes if lane is not None), default=0.0)


def estimate(plan: Plan, prices: PriceTable, today: date, past: Mapping[str, Past] | None = None) -> Estimate:
    """Return what a plan will take.

    Args:
        past: What earlier calls took, by model id.
    """
    seen, counts = look(plan), plan.count_by_task()
    models = tuple(
        _model(plan, model, counts, seen, price_of(model, prices, today), (past or {}).get(model))
        for model in plan.models
    )
    return Estimate(models, plan.lanes())


def price_of(model_id: str, prices: PriceTable, today: date) -> Price | None:
    """Return the price of a remote model; None where it is unknown, or where nothing is paid."""
    provider, _, name = model_id.partition("/")
    return prices.find(provider, name, today)


def is_free(model_id: str) -> bool:
    """Say whether a model runs on this machine."""
    return lane_of(model_id) == "this machine"


def most_usd(
    model_id: str, price: Price | None, prompt: str, size: tuple[int, int], max_tokens: int, attempts: int = 1
) -> float | None:
    """Return the most that a call may cost in US dollars; None where the price is unknown.

    Each attempt counts: one that breaks off may be charged as much as one that does not.

    Args:
        size: Width and height of the picture, in pixels.
    """
    if is_free(model_id):
        return 0.0
    if price is None:
        return None
    image = most_image_tokens(provider_of(model_id), *size)
    text = len(prompt.encode()) + FRAME_TOKENS  # no token is shorter than a byte
    dearest = max(price.input, price.image or 0.0, price.cached or 0.0)
    if price.up_to_input_tokens is not None and image + text > price.up_to_input_tokens:
        return None
    return ((image + text) * dearest + max_tokens * price.output) / MILLION * attempts


def most_image_tokens(provider: str, width: int, height: int) -> int:
    """Return the most tokens that a provider may count for a picture.

    Gemini: 258 a tile of 768, or up to 2,240 by the resolution that the model works at
    (ai.google.dev/gemini-api/docs/tokens). OpenAI: tiles of 512 of a picture fitted to 2,048 by 768, counted
    33-fold by small models, or patches of 32 counted 2.46-fold (platform.openai.com/docs/guides/images).
    Others: patches of 14.
    """
    if provider == "gemini":
        return max(2240, 258 * _tiles(width, 768) * _tiles(height, 768))
    if provider == "openai":
        tiles = min(8, _tiles(width, 512) * _tiles(height, 512))
        patches = min(10_000, _tiles(width, 32) * _tiles(height, 32))
        return max(2833 + 5667 * tiles, math.ceil(2.46 * patches))
    return 256 + _tiles(width, 14) * _tiles(height, 14)


def usual_image_tokens(provider: str, width: int, height: int) -> int:
    """Return how many tokens most models of a provider count for a picture."""
    if provider == "gemini":
        return 258 if max(width, height) <= 384 else 258 * _tiles(width, 768) * _tiles(height, 768)
    if provider == "openai":
        return 85 + 170 * min(8, _tiles(width, 512) * _tiles(height, 512))
    return min(4096, _tiles(width, 28) * _tiles(height, 28))


def _tiles(pixels: int, side: int) -> int:
    return math.ceil(pixels / side)


def _model(
    plan: Plan,
    model: str,
    counts: Mapping[str, int],
    seen: Seen,
    price: Price | None,
    past: Past | None,
) -> ModelEstimate:
    calls = sum(counts.values())
    image, inputs, outputs = _tokens(model, counts, seen, past)
    outputs = min(outputs, float(plan.max_tokens))
    usage = Usage(round(inputs), min(round(image), round(inputs)), 0, round(outputs))
    mean = cost(price, usage) if price else None
    usd = 0.0 if is_free(model) else mean.usd * calls if mean else None
    seconds, how = _seconds(model, outputs, past)
    known = past is not None and past.input_tokens is not None and past.output_tokens is not None
    tokens = f"as in {past.calls:,} earlier calls" if past and known else "guessed by picture size and prompt"
    return ModelEstimate(
        model,
        calls,
        round(inputs * calls),
        round(outputs * calls),
        usd,
        _most(plan, model, counts, seen, price),
        None if seconds is None else seconds * calls,
        f"Tokens {tokens}; time {how}.",
    )


def _tokens(
    model: str, counts: Mapping[str, int], seen: Seen, past: Past | None
) -> tuple[float, float, float]:
    """Return the mean tokens of a call: of its picture, of its request, of its answer."""
    calls = sum(counts.values())
    image = _mean([usual_image_tokens(provider_of(model), *size) for size in seen.sizes])
    text = {
        task: _mean([len(prompt) for prompt in seen.prompts[task]]) / CHARACTERS_PER_TOKEN for task in counts
    }
    inputs = image + 10 + sum(count * text[task] for task, count in counts.items()) / calls
    outputs = sum(count * ANSWER_TOKENS[task] for task, count in counts.items()) / calls
    if past and past.input_tokens is not None:
        inputs = past.input_tokens
    if past and past.output_tokens is not None:
        outputs = past.output_tokens
    return image, inputs, outputs


def _most(plan: Plan, model: str, counts: Mapping[str, int], seen: Seen, price: Price | None) -> float | None:
    sums = []
    for task, count in counts.items():
        usd = most_usd(model, price, seen.longest(task), seen.largest, plan.max_tokens)
        sums.append(None if usd is None else usd * count)
    return _sum(sums)


def _seconds(model: str, outputs: float, past: Past | None) -> tuple[float | None, str]:
    """Return the mean seconds of a call, and how that is known."""
    if past and past.total_ms is not None:
        return past.total_ms / 1000, f"as in {past.calls:,} earlier calls"
    if is_free(model):
        return None, "unknown, as it never ran here"
    return START_S + outputs / TOKENS_PER_S, "guessed by the length of the answer"


def look(plan: Plan) -> Seen:
    """Look at some items of a plan, spread over its data set."""
    count = min(SAMPLE, len(plan.items))
    items = [plan.items.at(position * len(plan.items) // count) for position in range(count)]
    prompts = {task: [plan.prompt_for(item, task) for item in items] for task in plan.tasks}
    return Seen([_size(item.load) for item in items], prompts)


def _size(load: Callable[[], ImageInput]) -> tuple[int, int]:
    try:
        image = load()
    except InputError:
        return UNSEEN
    return image.width, image.height


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
