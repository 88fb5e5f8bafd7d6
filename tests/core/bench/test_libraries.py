"""What is imported before a model is loaded, so that loading is the model's alone."""

import pytest

from core.bench import subjects
from core.registry import resolve


@pytest.mark.parametrize(
    ("model", "task", "libraries"),
    [
        ("shipped/vit-scenes", None, []),
        ("shipped/sam-scenes", "segmentation", ["segment_anything"]),
        ("shipped/captioner-small", "vlm", []),
        ("random/vit_tiny_patch16_224", None, ["timm"]),
        ("hf/facebook/dinov2-small", None, ["transformers.modeling_utils", "timm"]),
        ("hf/facebook/sam-vit-base", "segmentation", ["transformers.modeling_utils"]),
        ("hf/HuggingFaceTB/SmolVLM-256M-Instruct", "vlm", ["transformers.modeling_utils"]),
    ],
)
def test_libraries_are_there_before_the_clock_of_loading_starts(
    model: str, task: str | None, libraries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(subjects, "import_module", asked.append)
    subjects.import_libraries(resolve(model, task))
    assert asked == libraries
