"""Published weights: fetched over real sockets, recognised, built, and every wrong file refused."""

import hashlib
import os
import pickle
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import InputError, OfflineError, SetupError
from core.segment.weights import (
    CHUNK_BYTES,
    PUBLISHED,
    WIDTHS,
    PublishedWeights,
    architecture_of,
    build_published_sam,
    download,
    instruction,
    recognise,
)
from tests.support.web import Web, serve_folder

DATA = bytes(range(256)) * 11_000  # 2.8 MB: three pieces
NAME = "sam_vit_b_01ec64.pth"


@dataclass
class Site:
    """A server with one file, what that file should be, and an empty folder to fetch it into."""

    web: Web
    weights: PublishedWeights
    folder: Path

    @property
    def partial(self) -> Path:
        return self.folder / f"{NAME}.part"

    def fetch(self, **options: Any) -> Path:
        return download(self.weights, self.folder, base_url=self.web.url, **options)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "site"
    root.mkdir()
    (root / NAME).write_bytes(DATA)
    digest = hashlib.sha256(DATA).hexdigest()
    with serve_folder(root) as web:
        weights = PublishedWeights("vit_b", NAME, f"{web.url}/{NAME}", digest, len(DATA), 1)
        yield Site(web, weights, tmp_path / "weights")


# The table


def test_a_file_name_carries_its_architecture() -> None:
    assert [weights.name for weights in PUBLISHED] == ["vit_b", "vit_l", "vit_h"]
    for weights in PUBLISHED:
        assert re.fullmatch(rf"sam_{weights.name}_[0-9a-f]{{6}}\.pth", weights.file)
        assert weights.url == f"https://dl.fbaipublicfiles.com/segment_anything/{weights.file}"
        assert re.fullmatch("[0-9a-f]{64}", weights.sha256)
        assert architecture_of(weights.file) == architecture_of(weights.name) == weights.name
        assert recognise(Path("/somewhere") / weights.file) == weights
    assert recognise(Path("sam_vit_b.pth")) is None
    with pytest.raises(InputError, match="names no architecture"):
        architecture_of("resnet50")


def test_sizes_are_those_of_the_architectures() -> None:
    from segment_anything import sam_model_registry

    widths = {name: width for width, name in WIDTHS.items()}
    for weights in PUBLISHED:
        with torch.device("meta"):
            sam = sam_model_registry[weights.name]()
        assert sam.image_encoder.pos_embed.shape[-1] == widths[weights.name]
        assert sum(parameter.numel() for parameter in sam.parameters()) == weights.parameters
        values = sum(tensor.numel() for tensor in sam.state_dict().values())
        assert 0 < weights.size_bytes - 4 * values < 1e6  # float32, and the names


def test_the_instruction_names_address_and_place(tmp_path: Path) -> None:
    text = instruction(PUBLISHED[0], tmp_path)
    assert PUBLISHED[0].url in text
    assert str(tmp_path) in text
    assert "375 MB" in text


# Fetching


def test_a_download_reports_its_progress(site: Site) -> None:
    seen: list[tuple[int, int]] = []
    path = site.fetch(progress=lambda here, whole: seen.append((here, whole)))
    assert path == site.folder / NAME
    assert path.read_bytes() == DATA
    assert seen == [(min(n * CHUNK_BYTES, len(DATA)), len(DATA)) for n in (1, 2, 3)]
    assert [entry.name for entry in site.folder.iterdir()] == [NAME]


def test_what_is_there_is_not_fetched_again(site: Site) -> None:
    site.fetch()
    site.fetch()
    assert site.web.ranges == [None]


def test_a_cut_download_goes_on_where_it_ended(site: Site) -> None:
    site.web.fault = "cut"
    with pytest.raises(OfflineError) as raised:
        site.fetch()
    assert raised.value.remedy == instruction(site.weights, site.folder)
    here = site.partial.stat().st_size
    assert 0 < here < len(DATA)
    assert not (site.folder / NAME).exists()
    site.web.fault = None
    seen: list[int] = []
    assert site.fetch(progress=lambda done, _: seen.append(done)).read_bytes() == DATA
    assert site.web.ranges == [None, f"bytes={here}-"]
    assert seen[0] > here


def test_a_server_that_cannot_resume_sends_it_all(site: Site) -> None:
    site.folder.mkdir()
    site.partial.write_bytes(b"x" * 1000)
    site.web.fault = "whole"
    assert site.fetch().read_bytes() == DATA


class Stopped(BaseException):
    """As Streamlit raises to end a script."""


def test_a_stopped_download_can_go_on(site: Site) -> None:
    def stop(done: int, total: int) -> None:
        assert (done, total) == (CHUNK_BYTES, len(DATA))
        raise Stopped

    with pytest.raises(Stopped):
        site.fetch(progress=stop)
    assert site.partial.stat().st_size == CHUNK_BYTES
    assert site.fetch().read_bytes() == DATA


@pytest.mark.parametrize("content", [DATA[:-1] + b"?", DATA + b"more", DATA[:-5], b"<!DOCTYPE html>"])
def test_another_file_is_deleted_and_refused(site: Site, content: bytes) -> None:
    (site.web.root / NAME).write_bytes(content)
    with pytest.raises(InputError, match="is another file"):
        site.fetch()
    assert list(site.folder.iterdir()) == []


def test_the_start_of_another_file_does_not_stay_in_the_way(site: Site) -> None:
    site.folder.mkdir()
    for start in (b"x" * 5000, b"x" * len(DATA), b"x" * (len(DATA) + 1)):
        site.partial.write_bytes(start)
        with pytest.raises(InputError, match="is another file"):
            site.fetch()
    (site.web.root / NAME).write_bytes(b"short")
    site.partial.write_bytes(DATA[:5000])
    with pytest.raises(SetupError, match="HTTP 416"):
        site.fetch()
    (site.web.root / NAME).write_bytes(DATA)
    assert site.fetch().read_bytes() == DATA


def test_a_server_without_the_file(site: Site) -> None:
    (site.web.root / NAME).unlink()
    with pytest.raises(SetupError, match=r"refused to hand out sam_vit_b_01ec64.pth \(HTTP 404\)") as raised:
        site.fetch()
    assert not isinstance(raised.value, OfflineError)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "http://nowhere.invalid", "nonsense"])
def test_a_server_that_is_not_there(site: Site, address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = address.format(port=free.getsockname()[1])
    with pytest.raises(OfflineError, match="could not be fetched") as raised:
        download(site.weights, site.folder, base_url=closed)
    assert site.weights.url in raised.value.remedy
    assert str(site.folder) in raised.value.remedy


def test_a_redirect_on_the_same_host_is_followed(site: Site) -> None:
    site.web.fault = "moved"
    assert site.fetch().read_bytes() == DATA


@pytest.mark.parametrize(("fault", "says"), [("elsewhere", "without encryption"), ("loop", "without end")])
def test_a_redirect_that_leads_astray_is_refused(site: Site, fault: Any, says: str) -> None:
    site.web.fault = fault
    with pytest.raises(SetupError, match=says):
        site.fetch()
    assert not (site.folder / NAME).exists()


def test_a_full_disk(site: Site) -> None:
    site.folder.mkdir()
    site.partial.symlink_to("/dev/full")  # every write fails as on a full disk
    with pytest.raises(SetupError, match="is full") as raised:
        site.fetch()
    assert "Make room for 3 MB" in raised.value.remedy


def test_a_folder_that_cannot_be_made(site: Site) -> None:
    site.folder.write_text("a file")
    with pytest.raises(SetupError, match="cannot be written"):
        site.fetch()


# Building


def outline(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return tensors in the names and shapes of ViT-B, each of one value: small in a file."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in sam_model_registry["vit_b"]().state_dict().items()}
    values = {
        name: torch.full((1,), float(n)).expand(shape) for n, (name, shape) in enumerate(shapes.items())
    }
    return values | changes


def test_the_network_of_a_file_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "from-a-friend.pth"
    torch.save(outline(), path)
    sam = build_published_sam(path)
    assert len(sam.image_encoder.blocks) == 12
    assert sam.image_encoder.img_size == 1024
    for n, tensor in enumerate(sam.state_dict().values()):
        assert tensor.min() == tensor.max() == n


def test_a_published_name_is_checked_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / NAME
    torch.save(outline(**{"image_encoder.pos_embed": torch.zeros(1, 64, 64, 96)}), path)
    with pytest.raises(InputError, match=r"another file than expected: .* not ec2df6273261"):
        build_published_sam(path)
    with pytest.raises(InputError, match="96 wide, which is none of the published sizes"):
        build_published_sam(path, check_digest=False)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"blocks.0.weight": torch.zeros(2)}, "another network than Segment Anything"),
        ({"image_encoder.pos_embed": torch.zeros(1, 4097, 768)}, "another network than Segment Anything"),
        ({"image_encoder.pos_embed": torch.zeros(1, 16, 16, 128)}, "128 wide"),
        ({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, "313 missing"),
    ],
)
def test_the_weights_of_another_network_are_refused(
    tmp_path: Path, weights: dict[str, torch.Tensor], says: str
) -> None:
    path = tmp_path / "other.pth"
    torch.save(weights, path)
    with pytest.raises(InputError, match=says) as raised:
        build_published_sam(path)
    assert raised.value.remedy.endswith(".")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", None])
def test_a_truncated_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "cut.pth"
    torch.save(outline(), path)
    path.write_bytes(path.read_bytes()[:9000] if content is None else content)
    with pytest.raises(InputError, match=r"cut\.pth is "):
        build_published_sam(path)


class Hostile:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_its_code_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "code-was-run", tmp_path / "hostile.pth"
    for data in (
        pickle.dumps(Hostile(marker), protocol=2),
        pickle.dumps({"model": Hostile(marker)}, protocol=2),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match="pickle that holds more than tensors"):
            build_published_sam(path)
    assert not marker.exists()
