"""What a trained segmenter's card says: how good it is, and what it can and cannot do."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from core.checkpoints import Architecture, Card, ModelInput, Score
from core.registry import SEGMENTATION, ModelSpec
from core.samples import HELD_OUT
from core.segment.evaluate import TEST_SEEDS, evaluate, truth_pictures
from core.segment.original import OriginalSam
from core.segment.scores import Evaluation, Summary
from core.segment.small_sam import PIXEL_MEAN, PIXEL_STD
from core.training.promptable.config import PromptableConfig
from core.training.promptable.data import TRAIN_SEEDS

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

CLICKS = 3
OBJECTS = 3
"""Most objects of a picture that are measured."""
NOTE = (
    "A teaching model: it outlines drawn shapes and cut-outs, and has not learned what things are, so it "
    "fails on most of what photographs show. For those choose hf/facebook/sam-vit-base (needs a network "
    "once)."
)


def describe_card(config: PromptableConfig, sam: "Sam", command: str, duration_s: float) -> Card:
    """Return the card of a finished training, with the scores of the model on fresh pictures.

    Args:
        sam: The trained model, ready for inference.
        command: The command line that trained it.
        duration_s: Wall time of the training, in seconds.
    """
    model = as_segmenter(config, sam)
    pictures = truth_pictures(config.test_pictures, seed=0)
    found = evaluate(model, pictures, clicks=CLICKS, objects_per_picture=OBJECTS)
    score, *further = describe_scores(found)
    side = config.image_size
    red, green, blue = (value / 255 for value in PIXEL_MEAN)
    mean = red, green, blue
    red, green, blue = (value / 255 for value in PIXEL_STD)
    return Card(
        kind="segmentation",
        architecture=Architecture("Sam", config.architecture()),
        labels=(),
        input=ModelInput(side, side, mean, (red, green, blue)),
        command=command,
        seed=config.seed,
        data=describe_data(config),
        score=score,
        date=datetime.now(UTC).date().isoformat(),
        duration_s=round(duration_s, 1),
        licence="as this repository",
        title="Small SAM trained here on scenes and cut-outs",
        note=NOTE,
        further=tuple(further),
    )


def as_segmenter(config: PromptableConfig, sam: "Sam") -> OriginalSam:
    """Return the trained model as the app would load it."""
    tensors = (*sam.parameters(), *sam.buffers())
    name = config.out.stem
    return OriginalSam(
        spec=ModelSpec(f"shipped/{name}", name, "shipped", SEGMENTATION, str(config.out)),
        device=config.device,
        dtype="float32",
        load_ms=0.0,
        memory_mb=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6,
        module=sam,
    )


def describe_scores(found: Evaluation) -> list[Score]:
    """Return the scores for the card: the one of one click on all pictures first, then the others by kind."""
    scores = _scores(found.overall, "", "all kinds")
    for kind, summary in found.by_kind.items():
        scores += _scores(summary, f" on {kind}", kind)
    return scores


def _scores(summary: Summary, suffix: str, kind: str) -> list[Score]:
    """Return one summary's scores; a correlation that is undefined or below 0 is none."""
    protocol = (
        f"fresh pictures ({kind}) of the seeds from {TEST_SEEDS}, photographs of training held out; "
        f"{summary.objects} objects, at most {OBJECTS} of a picture"
    )
    one = "a uniformly random pixel of the object, of three masks that of the highest predicted IoU"
    if summary.interval is not None:
        low, high = summary.interval
        one += f"; 95 % bootstrap interval over pictures {low:.3f} to {high:.3f}"
    later = "then each click in the middle of the largest error, one mask from the mask before"
    rows = [
        ("mean IoU after one click", summary.mean_iou[0], one),
        ("mean IoU after three clicks", summary.mean_iou[CLICKS - 1], f"a random pixel, {later}"),
        ("mean IoU by the exact box", summary.box_mean_iou, "the tight box alone, one mask"),
    ]
    if summary.predicted_correlation is not None and summary.predicted_correlation >= 0:
        how = "Pearson, over the answers to one to three clicks and the box"
        rows.append(("correlation of predicted with true IoU", min(1.0, summary.predicted_correlation), how))
    return [
        Score(f"{name}{suffix}", value, summary.pictures, f"{how}; {protocol}") for name, value, how in rows
    ]


def describe_data(config: PromptableConfig) -> str:
    """Return in words what `config` learns from."""
    first = TRAIN_SEEDS + config.seed * 10**9
    crowded = 1 - config.plain_share
    return (
        f"{config.steps * config.batch_size:,} pictures drawn once each, of the seeds from {first}: "
        f"{config.plain_share:.0%} generated scenes, {crowded:.0%} crowded pictures, half of them of shapes "
        f"and half of pieces of photographs, with exact masks; {config.objects} objects of each, half by a "
        f"click and half by a box first, up to {config.rounds} prompts. The photographs are those that "
        f"scikit-image installs, except {', '.join(HELD_OUT)}: these are held out for the scores."
    )
