"""The facts about models, held against timm's and transformers' own; and what a typed name stands for."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.errors import InputError
from core.nn import VisionTransformer, count_parameters
from core.registry import ModelSpec, available, catalog, check_plain, resolve
from core.settings import ROOT, settings

PUBLISHED = [spec for spec in catalog() if spec.source in ("timm", "huggingface")]
TIMM = [spec for spec in PUBLISHED if spec.source == "timm"]
HUGGINGFACE = {
    spec.weights: spec
    for spec in PUBLISHED
    if spec.source == "huggingface" and "segmentation" not in spec.tasks
}
IDS = {"ids": lambda spec: spec.id}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ARGUMENTS = {
    "image_size": 16,
    "patch_size": 8,
    "num_classes": 2,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 32,
}


def card(class_name: str = "VisionTransformer") -> Card:
    return Card(
        kind="classification",
        architecture=Architecture(class_name, ARGUMENTS),
        labels=("cat", "dog"),
        input=ModelInput(16, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        command="python -m core train vit",
        seed=0,
        data="nothing",
        score=Score("top-1", 0.5, 2, "two pictures"),
        date="2026-01-31",
        duration_s=1.0,
        licence="MIT",
        title="Pets",
        note="Two pets.",
    )


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkpoints folder."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(folder))
    settings.cache_clear()
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that puts a file of a repository into the hub's cache, as a download leaves it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(repository: str, file: str) -> None:
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        for path, text in ((folder / "refs" / "main", COMMIT), (folder / "snapshots" / COMMIT / file, "-")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return put


def save(folder: Path, name: str, class_name: str = "VisionTransformer") -> Path:
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, VisionTransformer(**ARGUMENTS), card(class_name))
    return path


def refusal(name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        resolve(name)
    return caught.value


def listed() -> list[str]:
    return [spec.id for spec in catalog() if spec not in PUBLISHED]


def test_every_model_of_the_catalog_is_told_in_full() -> None:
    assert len({spec.id for spec in PUBLISHED}) == len(PUBLISHED)
    for spec in PUBLISHED:
        assert resolve(spec.id) == spec
        assert spec.title
        assert spec.parameters
        assert spec.license != "unknown"
        assert spec.paper.startswith("https://arxiv.org/abs/")
        assert spec.note.endswith(".")


@pytest.mark.parametrize("spec", TIMM, **IDS)
def test_the_facts_are_timms(spec: ModelSpec) -> None:
    """Built without memory: the outline of a network counts and runs like the network itself."""
    import timm
    from timm.data import infer_imagenet_subset

    published = timm.get_pretrained_cfg(spec.weights)
    assert spec.license.lower().replace(" ", "-") == published.license
    if not spec.is_random:
        assert published.hf_hub_id == f"timm/{spec.weights}"  # what `available` goes by
        assert spec.revision == published.tag
    with torch.device("meta"):
        module = timm.create_model(spec.weights, dynamic_img_size=True)
        tokens = module.forward_features(torch.empty(1, 3, 96 * 7, 64 * 7))
    assert spec.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert ("classification" in spec.tasks) == bool(infer_imagenet_subset(module))
    patch = module.patch_embed.patch_size[0]
    assert tokens.shape[1] == module.num_prefix_tokens + (96 * 7 // patch) * (64 * 7 // patch)


def test_the_facts_are_transformers() -> None:
    import transformers

    small = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    dinov2 = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}
    registers = transformers.Dinov2WithRegistersConfig(**dinov2, num_register_tokens=4)
    base = transformers.ViTConfig(num_labels=1000)
    with torch.device("meta"):
        outlines = {
            "google/vit-base-patch16-224": transformers.ViTForImageClassification(base),
            "facebook/dino-vits16": transformers.ViTModel(transformers.ViTConfig(**small), False),
            "facebook/dinov2-small": transformers.Dinov2Model(transformers.Dinov2Config(**dinov2)),
            "facebook/dinov2-with-registers-small": transformers.Dinov2WithRegistersModel(registers),
        }
    counted = {name: sum(p.numel() for p in outline.parameters()) for name, outline in outlines.items()}
    assert counted == {name: spec.parameters for name, spec in HUGGINGFACE.items()}


@pytest.mark.parametrize(
    ("typed", "model_id", "source", "weights", "revision"),
    [
        ("vit_tiny_patch16_224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "timm", None, None),
        (" timm/vit_small_patch16_224.dino\n", "timm/vit_small_patch16_224.dino", "timm", None, "dino"),
        ("vit_small_patch16_224.dino", "timm/vit_small_patch16_224.dino", "timm", None, "dino"),
        ("timm/vit_large_patch16_224.mae", "timm/vit_large_patch16_224.mae", "timm", None, "mae"),
        ("random/vit_tiny_patch16_224", "random/vit_tiny_patch16_224", "timm", None, "seed 0"),
        ("random/deit3_base_patch16_224", "random/deit3_base_patch16_224", "timm", None, "seed 0"),
        ("acme/tiny", "hf/acme/tiny", "huggingface", "acme/tiny", "main"),
        ("hf/acme/tiny@v1.0", "hf/acme/tiny@v1.0", "huggingface", "acme/tiny", "v1.0"),
        ("facebook/dinov2-small", "hf/facebook/dinov2-small", "huggingface", "facebook/dinov2-small", "main"),
    ],
)
def test_what_a_name_stands_for(
    typed: str, model_id: str, source: str, weights: str | None, revision: str | None
) -> None:
    spec = resolve(typed)
    assert (spec.id, spec.source) == (model_id, source)
    assert weights in (None, spec.weights)
    assert revision in (None, spec.revision)
    assert resolve(spec.id) == spec
    assert spec.is_random == typed.startswith("random/")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("timm/vit_tinny_patch16_224", "timm/vit_tiny_patch16_224"),
        ("vit_tiny_patch16_225", "timm/vit_tiny_patch16_224"),
        ("timm/vit_small_patch16_224.dinno", "timm/vit_small_patch16_224.dino"),
        ("random/vit_tny_patch16_224", "random/vit_tiny_patch16_224"),
        ("timm/efficientnet_b00", "timm/efficientnet_b0"),
        ("random/mobilenetv3_smal_100", "random/mobilenetv3_small_100"),
        ("hf/dinov2-small", "hf/facebook/dinov2-small"),
        ("hf/face book/dinov2-small", "hf/facebook/dinov2-small"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(typed: str, offered: str) -> None:
    error = refusal(typed)
    assert error.message.startswith("There is no model ") and error.message.endswith(f"{typed}.")
    assert offered in error.remedy


@pytest.mark.parametrize(
    ("typed", "model_id", "revision"),
    [
        ("random/resnet18", "random/resnet18", "seed 0"),
        ("random/vit_base_patch16_xp_224", "random/vit_base_patch16_xp_224", "seed 0"),
        ("timm/convnext_tiny.fb_in1k", "timm/convnext_tiny.fb_in1k", "fb_in1k"),
        ("swin_tiny_patch4_window7_224", "timm/swin_tiny_patch4_window7_224.ms_in1k", "ms_in1k"),
    ],
)
def test_other_networks_of_timm_classify_and_have_no_patches_to_look_into(
    typed: str, model_id: str, revision: str
) -> None:
    spec = resolve(typed)
    assert (spec.id, spec.source, spec.revision, spec.tasks) == (
        model_id,
        "timm",
        revision,
        ("classification",),
    )
    assert resolve(spec.id) == spec
    with pytest.raises(InputError, match=f"{model_id} is not a plain vision transformer") as caught:
        check_plain(spec)
    assert "vit_" in caught.value.remedy


@pytest.mark.parametrize("task", ["attention", "features"])
def test_whatever_may_have_patches_passes(task: str) -> None:
    for spec in (*catalog(), resolve("acme/tiny"), resolve("random/deit3_base_patch16_224")):
        if task in spec.tasks:
            check_plain(spec)


@pytest.mark.parametrize("typed", ["", "  ", "\n"])
def test_no_name_at_all(typed: str) -> None:
    assert refusal(typed).message == "No model was named."


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["", "timm/", "hf/", "file/", "random/", "shipped/", "~", "/"]), st.text(max_size=40))
def test_any_text_is_a_model_or_one_clear_error(prefix: str, text: str) -> None:
    try:
        spec = resolve(prefix + text)
    except InputError as error:
        assert error.remedy
    else:
        assert resolve(spec.id).id == spec.id


def test_a_name_too_long_for_a_path() -> None:
    assert "There is no model" in refusal("x" * 5000).message
    assert "is not a path" in refusal("file/~nobody-here/x.pth").message


def test_a_shipped_checkpoint_is_told_by_its_card(checkpoints: Path) -> None:
    path = save(checkpoints, "pets")
    spec = resolve("shipped/pets")
    assert (spec.title, spec.license, spec.note, spec.source) == ("Pets", "MIT", "Two pets.", "shipped")
    assert (spec.weights, spec.parameters) == (str(path), count_parameters(VisionTransformer(**ARGUMENTS)))
    assert spec.tasks == ("classification", "attention", "features")
    assert available(spec)


def test_a_shipped_checkpoint_has_an_untrained_twin(checkpoints: Path) -> None:
    save(checkpoints, "pets")
    trained, twin = resolve("shipped/pets"), resolve("random/shipped/pets")
    assert (twin.id, twin.title, twin.is_random) == ("random/shipped/pets", "Pets, untrained", True)
    assert (twin.weights, twin.tasks, twin.source) == (trained.weights, trained.tasks, "shipped")
    assert twin.revision == f"seed 0, {trained.revision}"  # another checkpoint may be of another architecture
    assert resolve(twin.id) == twin
    assert available(twin)
    assert "random/shipped/pets" in refusal("random/shipped/pet").remedy
    with pytest.raises(InputError):
        resolve("random/shipped/sam-scenes")


def test_the_scene_model_comes_first_and_a_broken_card_hides_no_other(
    checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("digits", "vit-scenes", "zebra"):
        save(checkpoints, name)
    save(checkpoints, "captions", class_name="Captioner")
    save(checkpoints, "oracle", class_name="CrystalBall")
    (checkpoints / "broken.json").write_text("{")
    assert listed() == ["shipped/vit-scenes", "shipped/captions", "shipped/digits", "shipped/zebra"]
    assert "broken.json" in caplog.text


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def pointer_only(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


@pytest.mark.parametrize("spoil", [Path.unlink, cut_short, pointer_only, lambda path: path.write_bytes(b"")])
def test_weights_that_are_not_whole_are_not_available(
    spoil: Callable[[Path], None], checkpoints: Path
) -> None:
    path = save(checkpoints, "pets")
    spec = resolve("shipped/pets")
    spoil(path)
    assert not available(spec)


def test_ones_own_files_in_the_folder_are_listed_by_their_short_name(checkpoints: Path) -> None:
    save(checkpoints, "pets")
    (checkpoints / "vit_tiny_patch16_224.mine.pth").write_bytes(b"-")
    (checkpoints / ".hidden.pth").write_bytes(b"-")
    (checkpoints / "notes.txt").write_text("-")
    for folder, file in (("model", "config.json"), ("downloads", "other.bin")):
        (checkpoints / folder).mkdir()
        (checkpoints / folder / file).write_text("{}")
    assert listed() == ["shipped/pets", "file/model", "file/vit_tiny_patch16_224.mine.pth"]
    by_path = resolve(str(checkpoints / "vit_tiny_patch16_224.mine.pth"))
    assert by_path == resolve("file/vit_tiny_patch16_224.mine.pth")
    assert available(by_path)


def test_a_file_anywhere_is_named_by_its_whole_path(checkpoints: Path, tmp_path: Path) -> None:
    path = tmp_path / "vit_tiny_patch16_224.pth"
    path.write_bytes(b"-")
    spec = resolve(str(path))
    assert (spec.id, spec.title, spec.weights) == (f"file/{path}", path.name, str(path))
    assert resolve(spec.id) == spec
    path.write_bytes(b"other")
    assert resolve(spec.id).revision != spec.revision


def test_a_path_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("-")
    assert "There is no file or folder" in refusal(f"{tmp_path}/nothing.safetensors").message
    assert "notes.txt is not a weights file" in refusal(f"{tmp_path}/notes.txt").message


@pytest.mark.parametrize(
    ("typed", "repository", "file"),
    [
        ("timm/vit_small_patch16_224.dino", "timm/vit_small_patch16_224.dino", "model.safetensors"),
        ("timm/vit_large_patch16_224.mae", "timm/vit_large_patch16_224.mae", "pytorch_model.bin"),
        # weights that timm lists under another name than their repository's
        (
            "timm/vit_base_patch16_clip_quickgelu_224.openai",
            "timm/vit_base_patch16_clip_224.openai",
            "model.safetensors",
        ),
        ("acme/tiny", "acme/tiny", "model.safetensors"),
        (f"acme/tiny@{COMMIT}", "acme/tiny", "model.safetensors"),
    ],
)
def test_what_was_fetched_is_available(
    typed: str, repository: str, file: str, hub_cache: Callable[[str, str], None]
) -> None:
    spec = resolve(typed)
    assert not available(spec)
    hub_cache(repository, "config.json")
    assert not available(spec)
    hub_cache(repository, file)
    assert available(spec)


def test_random_weights_are_always_available() -> None:
    assert available(resolve("random/vit_base_patch16_224"))


def test_a_spec_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="source is 'web'"):
        ModelSpec("a", "a", "web", ("attention",), "a")
    with pytest.raises(ValueError, match="tasks are"):
        ModelSpec("a", "a", "timm", ("juggling",), "a")


def test_the_list_of_models_needs_no_heavy_library() -> None:
    script = (
        "import json, sys; from core.registry import available, catalog, resolve\n"
        "known = [resolve(spec.id) for spec in catalog()]; ready = [available(spec) for spec in known]\n"
        "resolve('acme/tiny'), resolve('core/registry.py'.replace('.py', ''))\n"
        "print(json.dumps(sorted({'torch', 'timm', 'transformers'} & sys.modules.keys())))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
