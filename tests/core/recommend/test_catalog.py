"""What every entry of the catalogue must be, held against timm and the registry."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import timm
import torch
from torch.overrides import TorchFunctionMode

from core.errors import InputError
from core.recommend.entries import TASKS, Entry, read_catalog
from core.registry import resolve
from core.vlm.providers import REMOTE

CATALOG = read_catalog()
ENTRIES = tuple(CATALOG.entries.values())
CLASSIFIERS = CATALOG.of("classification")
REGISTRY_TASKS = {
    "classification": "classification",
    "features": "features",
    "promptable-segmentation": "segmentation",
    "captioning": "vlm",
    "vqa": "vlm",
    "ocr": "vlm",
}
"""What the registry calls a task that this app runs."""
FIRST_VALUES = frozenset(
    {"uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "erfinv_", "mul_", "add_", "clamp_", "fill_"}
)


class NoFirstValues(TorchFunctionMode):
    """Parameters are only counted here; to give them their first values takes most of the time."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in FIRST_VALUES:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def counted(name: str) -> int:
    with torch.device("meta"), NoFirstValues():
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters())


def timm_name(entry: Entry) -> str:
    """Its weights' name, which says whether it has a classifier; otherwise the architecture."""
    name = entry.id.removeprefix("timm/")
    return name if name.startswith(f"{entry.timm}.") else entry.timm


def test_every_task_has_models_and_there_are_at_least_eighty() -> None:
    assert len(ENTRIES) >= 80
    assert [task for task in TASKS if not CATALOG.of(task)] == []


def test_every_entry_says_where_it_comes_from_and_nothing_is_of_the_future() -> None:
    assert [one.id for one in ENTRIES if not one.url and not one.id.startswith("shipped/")] == []
    today = datetime.now(UTC).date()
    assert [one.id for one in ENTRIES if one.published > today] == []
    assert [one.id for one in CATALOG.sources.values() if one.date > today] == []


def test_every_axis_and_every_device_has_a_figure() -> None:
    axes = {figure.axis for one in ENTRIES for figure in one.accuracy}
    devices = {figure.device for one in ENTRIES for figure in one.speed}
    assert set(CATALOG.axes) - axes == set()
    assert set(CATALOG.devices) - devices == set()


def test_what_timm_builds_is_there_and_has_as_many_parameters() -> None:
    wrong = {}
    for entry in ENTRIES:
        if entry.timm and entry.parameters is not None:
            count = counted(timm_name(entry))
            if abs(count / entry.parameters - 1) > 0.01:
                wrong[entry.id] = (entry.parameters, count)
    assert wrong == {}


def test_what_this_app_runs_is_known_to_it_for_that_task() -> None:
    assert [one.id for one in ENTRIES if one.provider and one.provider not in REMOTE] == []
    wrong = {}
    for entry in ENTRIES:
        if not entry.runs or entry.access == "api":
            continue
        for task in entry.tasks:
            wanted = REGISTRY_TASKS.get(task, "")
            try:
                known = resolve(entry.runs, wanted).tasks
            except InputError as error:
                known = (str(error),)
            if wanted not in known:
                wrong[entry.id, task] = known
    assert wrong == {}


def test_multiply_adds_are_of_the_right_size() -> None:
    counts = {one.id: (one.macs, one.parameters) for one in ENTRIES if one.macs is not None}
    assert len(counts) > 50
    assert {name: macs for name, (macs, _) in counts.items() if macs >= 1e14} == {}
    few = {name: both for name, both in counts.items() if both[1] is not None and both[0] * 100 < both[1]}
    assert few == {}


def test_no_accuracy_is_zero_and_no_model_takes_longer_than_a_minute_a_picture() -> None:
    """A figure that nobody published is left out; a slow one was rather written in other units."""
    figures = [(one.id, figure) for one in ENTRIES for figure in one.accuracy]
    assert [name for name, figure in figures if figure.value == 0] == []
    speeds = [(one.id, figure) for one in ENTRIES for figure in one.speed]
    assert [name for name, figure in speeds if not 1 / 60 < figure.images_per_s < 1e6] == []


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("imagenetv2-top1", "imagenet-top1"),
        ("imagenet-top1", "imagenet-real-top1"),
        ("imagenet-sketch-top1", "imagenetv2-top1"),
    ],
)
def test_harder_pictures_are_harder_for_every_classifier(lower: str, higher: str) -> None:
    wrong = []
    for entry in CLASSIFIERS:
        values = {(one.axis, one.input_size): one.value for one in entry.accuracy}
        sizes = {size for axis, size in values if axis == lower} & {s for a, s in values if a == higher}
        wrong += [entry.id for size in sizes if values[lower, size] >= values[higher, size]]
    assert wrong == []


def test_accuracy_and_speed_of_a_classifier_are_known_at_its_own_size() -> None:
    own = [one for one in CLASSIFIERS if one.id.startswith("timm/")]
    assert len(own) > 40
    for entry in own:
        figure = entry.on("imagenet-top1")
        assert figure is not None and figure.input_size == entry.input_size, entry.id
        assert {one.device for one in entry.speed if one.input_size == entry.input_size} >= {
            "i7-12700h",
            "i9-10940x",
            "rtx-4090",
            "rtx-5090",
        }
