"""The environment becomes one checked value."""

from pathlib import Path

import pytest

from core.errors import SetupError
from core.settings import ROOT, read_settings


def test_an_empty_environment_gives_a_private_local_app() -> None:
    settings = read_settings({})
    assert settings.database_url == f"sqlite:///{ROOT / 'db' / 'vision_bench.sqlite3'}"
    assert settings.checkpoints == ROOT / "checkpoints"
    assert settings.keep_pictures
    assert (settings.access, settings.device) == ("auto", "auto")
    assert (settings.max_upload_mb, settings.max_megapixels) == (20, 40)
    assert settings.model_memory_mb is None


def test_a_public_deployment_keeps_no_pictures_unless_told_to() -> None:
    assert not read_settings({"VISION_BENCH_ACCESS": "public"}).keep_pictures
    assert read_settings({"VISION_BENCH_ACCESS": "public", "VISION_BENCH_KEEP_PICTURES": "1"}).keep_pictures
    assert not read_settings({"VISION_BENCH_KEEP_PICTURES": "no"}).keep_pictures


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VISION_BENCH_MAX_UPLOAD_MB", "big"),
        ("VISION_BENCH_MAX_UPLOAD_MB", "-1"),
        ("VISION_BENCH_MAX_MEGAPIXELS", "nan"),
        ("VISION_BENCH_HUB_TIMEOUT_S", "inf"),
        ("VISION_BENCH_ACCESS", "open"),
        ("VISION_BENCH_DEVICE", "gpu"),
        ("VISION_BENCH_KEEP_PICTURES", "maybe"),
        ("VISION_BENCH_MODEL_MEMORY_MB", "0"),
        ("VISION_BENCH_VLM_URL", "localhost:11434/v1"),
        ("VISION_BENCH_VLM_URL", "ftp://models.example/v1"),
        ("VISION_BENCH_VLM_URL", "http:///v1"),
        ("VISION_BENCH_VLM_URL", "http://models.example:port/v1"),
        ("VISION_BENCH_VLM_URL", "http://[::1/v1"),
        ("VISION_BENCH_VLM_URL", "http://models.example/v1 http://other.example/v1"),
        ("VISION_BENCH_LOOPBACK_URL", "http://models.example:8765"),
        ("VISION_BENCH_LOOPBACK_URL", "http://127.0.0.1:8765/v1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SetupError, match=name):
        read_settings({name: value})


def test_addresses_of_remote_models_and_the_price_table() -> None:
    unset = read_settings({})
    assert (unset.vlm_url, unset.loopback_url, unset.prices) == ("", "", None)
    settings = read_settings(
        {
            "VISION_BENCH_VLM_URL": " http://localhost:11434/v1/ ",
            "VISION_BENCH_LOOPBACK_URL": "http://[::1]:8765/",
            "VISION_BENCH_PRICES": "prices.toml",
        }
    )
    assert settings.vlm_url == "http://localhost:11434/v1"
    assert settings.loopback_url == "http://[::1]:8765"
    assert settings.prices == Path("prices.toml")


@pytest.mark.parametrize(
    "secret", ["http://me:hunter2@models.example/v1", "https://models.example/v1?key=hunter2"]
)
def test_a_secret_in_an_address_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(SetupError, match="VISION_BENCH_VLM_URL") as caught:
        read_settings({"VISION_BENCH_VLM_URL": secret})
    assert "hunter2" not in str(caught.value)
