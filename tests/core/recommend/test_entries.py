"""What a catalogue may say: broken ones are refused, and the message names the entry."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from core.recommend.entries import Catalog, read_catalog

GOOD: dict[str, str] = {
    "sources.toml": """
[[source]]
id = "paper"
title = "A paper"
url = "https://example.org/paper"
date = 2024-01-31
""",
    "axes.toml": """
[[axis]]
id = "share"
tasks = ["classification"]
benchmark = "Some pictures"
metric = "top-1"
protocol = "One crop."
source = "paper"
pictures = 100

[[axis]]
id = "boxes"
tasks = ["detection"]
benchmark = "Some boxes"
metric = "AP"
protocol = "One size."
source = "paper"
""",
    "devices.toml": '[[device]]\nid = "chip"\ntitle = "A chip"\nkind = "cpu"\n',
    "quick.toml": """
[[choice]]
task = "classification"
speed = "fast"
model = "family/net"
why = "It is small."
""",
    "models/one.toml": """
[[model]]
id = "family/net"
title = "Net"
family = "Family"
tasks = ["classification"]
published = 2024-01-31
licence = "MIT"
commercial = true
source = "paper"
url = "https://example.org/net"
parameters = 1_000
input_size = 224
macs = 2_000
accuracy = [{ axis = "share", value = 81.5, source = "paper" }]
speed = [
    { device = "chip", precision = "fp32", batch = 1, input_size = 224, latency_ms = 9.5, source = "paper" },
]
""",
}
MODEL = "models/one.toml"


def write(folder: Path, changed: Mapping[str, str] | None = None) -> Path:
    for name, text in {**GOOD, **(changed or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read_with(folder: Path, file: str, old: str, new: str) -> Catalog:
    assert old in GOOD[file]
    return read_catalog(write(folder, {file: GOOD[file].replace(old, new, 1)}))


def test_a_good_catalogue_is_read(tmp_path: Path) -> None:
    found = read_catalog(write(tmp_path))
    entry = found.entries["family/net"]
    assert (entry.weights_mb, entry.speed[0].images_per_s) == (0.004, pytest.approx(105.26, abs=0.01))
    assert [axis.id for axis in found.axes_of("classification")] == ["share"]
    assert found.axes["share"].pictures == 100


def test_what_is_not_said_is_missing_and_not_zero(tmp_path: Path) -> None:
    entry = read_with(tmp_path, MODEL, "parameters = 1_000\n", "").entries["family/net"]
    assert (entry.parameters, entry.weights_mb, entry.activations, entry.on("boxes")) == (None,) * 4


def test_a_change_of_any_file_is_another_catalogue(tmp_path: Path) -> None:
    digests = (
        {read_catalog(write(tmp_path / "good")).digest} if (tmp_path / "good").mkdir() is None else set()
    )
    for number, name in enumerate(GOOD):
        folder = tmp_path / str(number)
        folder.mkdir()
        digests.add(read_catalog(write(folder, {name: GOOD[name] + "# read again\n"})).digest)
    assert len(digests) == 1 + len(GOOD)


BROKEN = [
    (MODEL, 'title = "Net"', 'titel = "Net"', "family/net.*titel"),
    (MODEL, 'licence = "MIT"\n', "", "family/net.*licence"),
    (MODEL, 'source = "paper"\nurl', "url", "family/net.*source"),
    (MODEL, 'source = "paper"\nurl', 'source = "rumour"\nurl', "family/net.*rumour"),
    (MODEL, 'title = "Net"', 'title = ""', "empty.*family/net"),
    (MODEL, 'family = "Family"', "family = 7", "family/net.*7"),
    (MODEL, '["classification"]', "[]", "family/net.*tasks"),
    (MODEL, '["classification"]', '["smelling"]', "family/net.*smelling"),
    (MODEL, "2024-01-31", '"January"', "family/net.*January"),
    (MODEL, "2024-01-31", "1999-01-31", "family/net.*1999"),
    (MODEL, "2024-01-31", "2024-01-31T10:00:00", "family/net.*no day"),
    (MODEL, "https://", "ftp://", "family/net.*ftp"),
    (MODEL, "1_000", "-1", "family/net.*parameters.*-1"),
    (MODEL, "1_000", "0", "family/net.*parameters.*0"),
    (MODEL, "1_000", "nan", "family/net.*parameters.*nan"),
    (MODEL, "1_000", "inf", "family/net.*parameters.*inf"),
    (MODEL, "1_000", "true", "family/net.*parameters.*True"),
    (MODEL, "1_000", '"86 M"', "family/net.*parameters.*86 M"),
    (MODEL, "macs = 2_000", "macs = -2", "family/net.*macs"),
    (MODEL, "commercial = true", 'commercial = true\naccess = "api"', "family/net.*provider"),
    (MODEL, "commercial = true", 'commercial = true\nprovider = "gemini"', "family/net.*provider"),
    (MODEL, "commercial = true", 'commercial = true\naccess = "theft"', "family/net.*theft"),
    (MODEL, 'axis = "share"', 'axis = "guess"', "family/net.*guess"),
    (MODEL, 'axis = "share"', 'axis = "boxes"', "family/net.*boxes"),
    (MODEL, "81.5", "100.5", "family/net.*100.5"),
    (MODEL, "81.5", "-0.5", "family/net.*-0.5"),
    (MODEL, 'device = "chip"', 'device = "abacus"', "family/net.*abacus"),
    (MODEL, '9.5, source = "paper"', '9.5, source = "rumour"', "family/net.*rumour"),
    (MODEL, "81.5", "nan", "share.*nan"),
    (MODEL, "81.5", '"81.5"', "share"),
    (MODEL, '81.5, source = "paper"', "81.5", "share.*source"),
    (MODEL, "9.5", "0", "chip.*latency_ms"),
    (MODEL, "9.5", "-9.5", "chip.*latency_ms"),
    (MODEL, "9.5", "nan", "chip.*latency_ms"),
    (MODEL, "batch = 1", "batch = true", "chip.*batch"),
    (MODEL, '"fp32"', '"fp31"', "chip.*fp31"),
    (MODEL, "[[model]]", "[[models]]", "one.toml.*models"),
    (MODEL, 'title = "Net"', "title = Net", "one.toml"),
    (MODEL, "81.5", "true", "family/net.*share.*True"),
    (MODEL, "81.5", "nan", "family/net.*share.*nan"),
    (MODEL, "9.5", "-9.5", "family/net.*chip.*-9.5"),
    (MODEL, "commercial = true", 'commercial = "yes"', "family/net.*commercial.*yes"),
    (MODEL, "commercial = true", "commercial = true\nretired = true", "family/net.*no day"),
    (MODEL, "input_size = 224\n", "input_size = 224.5\n", "family/net.*input_size.*224.5"),
    (MODEL, "1_000", "1_000.5", "family/net.*parameters.*1000.5"),
    ("axes.toml", "pictures = 100", "pictures = 0", "share.*pictures"),
    ("axes.toml", "pictures = 100", "pictures = true", "share.*pictures"),
    ("axes.toml", 'source = "paper"', 'source = "rumour"', "share.*rumour"),
    ("axes.toml", '["classification"]', '["smelling"]', "share.*smelling"),
    ("axes.toml", 'id = "boxes"', 'id = "share"', "share is there twice"),
    ("devices.toml", '"cpu"', '"abacus"', "chip.*abacus"),
    ("devices.toml", '"cpu"', '"cpu"\nmemory_mb = -1', "chip.*memory_mb"),
    ("sources.toml", "https://", "http://", "paper.*http:"),
    ("sources.toml", "2024-01-31", "true", "paper.*True"),
    ("quick.toml", "family/net", "family/other", "family/other"),
    ("quick.toml", "classification", "detection", "family/net.*detection"),
    ("quick.toml", '"fast"', '"soon"', "family/net.*soon"),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), BROKEN)
def test_what_is_wrong_is_said_with_the_name_of_the_entry(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){said}"):
        read_with(tmp_path, file, old, new)


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="family/net is there twice"):
        read_catalog(write(tmp_path, {"models/two.toml": GOOD[MODEL]}))


def test_two_figures_on_one_axis_at_one_size_are_refused(tmp_path: Path) -> None:
    figure = '{ axis = "share", value = 81.5, source = "paper" }'
    with pytest.raises(ValueError, match=r"family/net.*two accuracies"):
        read_with(tmp_path, MODEL, figure, f"{figure}, {figure}")


def test_figures_at_two_sizes_are_kept_and_the_one_at_its_own_size_comes_first(tmp_path: Path) -> None:
    figure = '{ axis = "share", value = 81.5, source = "paper" }'
    larger = figure.replace("81.5", "83.5, input_size = 384")
    own = figure.replace("81.5", "82.5, input_size = 224")
    entry = read_with(tmp_path, MODEL, figure, f"{larger}, {own}").entries["family/net"]
    found = entry.on("share")
    assert found is not None and found.value == 82.5
    assert len(entry.accuracy) == 2
