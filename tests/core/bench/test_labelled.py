"""Classes of pictures: from folders and tables, and as a model names them."""

import io
import zipfile
from pathlib import Path

import pytest

from core.bench.labelled import Target, label_of, match
from core.errors import InputError
from core.samples import load_sample
from core.vlm.datasets import open_items
from core.vlm.datasets.archive import zip_items
from core.vlm.datasets.values import Items

LABELS = ("tabby, tabby cat", "Egyptian_cat", "space shuttle", "crane", "crane")


def zipped(*paths: str, table: str = "") -> Items:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in paths:
            archive.writestr(path, load_sample("chelsea").data)
        if table:
            archive.writestr("labels.csv", table)
    return zip_items(file, "pets.zip")


def test_the_folder_is_the_class() -> None:
    found = match(zipped("set/egyptian cat/1.png", "set/Space-Shuttle/1.png"), LABELS)
    assert found.targets == (
        Target("set/Space-Shuttle/1.png", frozenset({2})),
        Target("set/egyptian cat/1.png", frozenset({1})),
    )
    assert (found.unknown, found.left_out, found.note) == ((), 0, "")


def test_a_table_says_the_class_whatever_the_folder_is_called() -> None:
    items = zipped("a/1.png", "a/2.png", table="image,reference\na/1.png,tabby cat\na/2.png,EGYPTIAN CAT\n")
    assert [target.classes for target in match(items, LABELS).targets] == [{0}, {1}]


def test_two_labels_of_one_name_are_both_right() -> None:
    assert match(zipped("crane/1.png"), LABELS).targets[0].classes == {3, 4}


def test_a_label_that_is_whole_wins_over_one_that_lists_it() -> None:
    assert match(zipped("drake/1.png"), ("duck, drake", "drake")).targets[0].classes == {1}


def test_what_the_model_does_not_know_is_told_and_left_out() -> None:
    found = match(zipped("tabby/1.png", "yeti/1.png", "yeti/2.png", "elf/1.png"), LABELS)
    assert [target.classes for target in found.targets] == [{0}]
    assert (found.unknown, found.left_out) == (("elf", "yeti"), 3)
    assert (
        found.note
        == "3 pictures are of classes that the model does not know ('elf', 'yeti') and did not count."
    )


def test_classes_that_the_model_has_none_of() -> None:
    with pytest.raises(InputError, match=r"knows none of the classes of pets.zip \('yeti'\)") as caught:
        match(zipped("yeti/1.png"), LABELS)
    assert "'tabby, tabby cat', 'Egyptian_cat', 'space shuttle'" in str(caught.value)


def test_a_picture_without_a_class() -> None:
    with pytest.raises(InputError, match=r"1.png has no class"):
        match(zipped("1.png"), LABELS)
    table = "image,reference\na/1.png,tabby\na/1.png,crane\n"
    with pytest.raises(InputError):
        label_of(zipped("a/1.png", table=table).at(0))


def test_ten_thousand_files_in_a_folder_of_classes(tmp_path: Path) -> None:
    data = load_sample("chelsea").data
    first = tmp_path / "set" / "tabby"
    first.mkdir(parents=True)
    (first / "0.png").write_bytes(data)
    for number in range(1, 10_000):
        (first / f"{number}.png").hardlink_to(first / "0.png")
    assert len(match(open_items(str(tmp_path / "set")), LABELS).targets) == 10_000
