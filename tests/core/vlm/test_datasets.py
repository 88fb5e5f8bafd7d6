"""Data sets from tables, zips and folders: what is read, and one sentence for each thing that is wrong."""

import csv
import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.images import encode_png
from core.scenes import generate_scene
from core.vlm.datasets import open_items, scene_items, zip_items
from core.vlm.datasets.archive import ENCRYPTED
from core.vlm.datasets.pictures import Pictures, clean_path
from core.vlm.datasets.table import read_table
from core.vlm.datasets.values import MAX_ITEMS

PNG = encode_png(generate_scene(1).rgb)
Folder = Callable[..., Path]


def pictures(*paths: str) -> Pictures:
    """Return pictures that need no disk."""
    return Pictures("pictures.zip", "d", frozenset(paths), lambda _: PNG)


def table(text: str | bytes, name: str = "table.csv", *paths: str) -> list[tuple[object, ...]]:
    """Return the items of a table as plain values."""
    data = text.encode() if isinstance(text, str) else text
    items = read_table(data, name, pictures(*(paths or ("a.png", "b.png"))))
    found = [items.at(position) for position in range(len(items))]
    return [(item.id, dict(item.prompts), dict(item.references)) for item in found]


def packed(files: Mapping[str, bytes | str]) -> io.BytesIO:
    """Return a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a function that writes files into a folder."""

    def write(**files: bytes | str) -> Path:
        for name, data in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return tmp_path / "set"

    return write


# Tables


def test_a_row_for_each_task_makes_one_item() -> None:
    rows = (
        "id,image,task,prompt,reference\n"
        'x,a.png,ocr,,LAMP\nx,a.png,question,How many?,two\ny,b.png,objects,,"star, red circle"\n'
    )
    assert table(rows) == [
        ("x", {"question": "How many?"}, {"ocr": ("LAMP",), "question": ("two",)}),
        ("y", {}, {"objects": ("star", "red circle")}),
    ]


def test_a_table_without_tasks_holds_for_whichever_is_asked() -> None:
    items = read_table(b"image,reference\na.png,LAMP\n", "t.csv", pictures("a.png"))
    assert items.ids == ["a.png"]
    assert items.at(0).references_for("ocr") == ("LAMP",) == items.at(0).references_for("caption")
    assert items.asks(0, "ocr")
    assert items.unprompted("question") == "Row 2"


def test_a_task_that_is_not_in_the_table_is_not_asked() -> None:
    items = read_table(b"image,task\na.png,ocr\nb.png,caption\n", "t.csv", pictures("a.png", "b.png"))
    assert [items.asks(at, "ocr") for at in (0, 1)] == [True, False]
    assert items.unprompted("question") == ""


HARD = [
    'He said "two", twice',
    "line one\nline two\r\nthree",
    "猫が二匹",
    "עברית ←",
    "a;b\tc",
    "=1+1",
    "ﬁ 🦊",
]


@pytest.mark.parametrize("text", HARD)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "utf-16", "semicolon"])
def test_references_of_every_kind_arrive_as_they_were(text: str, kind: str) -> None:
    if kind == "jsonl":
        line = json.dumps(
            {"id": text[:5], "image": "a.png", "references": [text, "other"]}, ensure_ascii=False
        )
        assert table(line, "t.jsonl")[0][2] == {"": (text, "other")}
        return
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=";" if kind == "semicolon" else ",")
    writer.writerows([["image", "prompt", "references"], ["a.png", text, json.dumps([text, "other"])]])
    data = buffer.getvalue().encode("utf-16" if kind == "utf-16" else "utf-8-sig")
    assert table(data) == [("a.png", {"": text}, {"": (text, "other")})]


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), st.integers(0, 1)),
        min_size=1,
        max_size=8,
    )
)
def test_what_a_csv_writer_writes_is_read_back(cells: list[tuple[str, int]]) -> None:
    import unicodedata

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["id", "image", "reference"])
    writer.writerows([[f"n{i}", "ab"[at] + ".png", text] for i, (text, at) in enumerate(cells)])
    found = table(buffer.getvalue())
    assert [item[0] for item in found] == [f"n{i}" for i in range(len(cells))]
    wanted = [unicodedata.normalize("NFC", text.strip()) for text, _ in cells]
    assert [item[2] for item in found] == [{"": (text,)} if text else {} for text in wanted]


WRONG = {
    "no column": ("id,picture\n1,a.png\n", "no column image in row 1"),
    "column twice": ("image,image\na.png,b.png\n", "column image twice in row 1"),
    "empty": ("", "holds no picture"),
    "only names": ("image,reference\n", "holds no picture"),
    "no picture": ("image\na.png\n\n", None),
    "not there": ("image\na.png\nc.png\n", "Row 3 of table.csv: there is no file 'c.png' in pictures.zip"),
    "outside": ("image\n../../etc/passwd\n", "Row 2 of table.csv: the path '../../etc/passwd' leads outside"),
    "absolute": ("image\n/etc/passwd\n", "Row 2 of table.csv: the path '/etc/passwd' leads outside"),
    "drive": ("image\nC:\\x.png\n", "leads outside"),
    "cell empty": ("id,image\n1,a.png\n2,\n", "Row 3 of table.csv: image is empty"),
    "id twice": (
        "id,image\n7,a.png\n8,b.png\n7,a.png\n",
        "Row 4 of table.csv: the id '7' is there already in row 2",
    ),
    "id of two": (
        "id,image\n7,a.png\n7,b.png\n",
        "Row 3 of table.csv: the id '7' belongs to another picture in row 2",
    ),
    "task twice": (
        "image,task\na.png,ocr\na.png,OCR\n",
        "Row 3 of table.csv: the task ocr is there already in row 2",
    ),
    "unknown task": ("image,task\na.png,translate\n", "Row 2 of table.csv: there is no task 'translate'"),
    "no prompt": ("image,task\na.png,question\n", "Row 2 of table.csv: the task question has no prompt"),
    "too many cells": ("image,reference\na.png,one, two\n", "Row 2 of table.csv has 3 cells for 2 columns"),
    "quote open": ('image,reference\na.png,"one\n', "Row 2 of table.csv cannot be read"),
    "bad list": ("image,references\na.png,[1\n", "Row 2 of table.csv: references is no list of texts"),
    "long id": (f"id,image\n{'x' * 201},a.png\n", "Row 2 of table.csv: the id has more than 200 characters"),
    "long cell": (
        f"image,reference\na.png,{'x' * 100_001}\n",
        "Row 2 of table.csv: reference has 100,001 characters",
    ),
    "huge cell": (f"image,reference\na.png,{'x' * 200_000}\n", "Row 2 of table.csv cannot be read"),
    "latin-1": (
        "image,reference\na.png,ok\nb.png,caf\xe9\n".encode("latin-1"),
        "Line 3 of table.csv is not written in UTF-8",
    ),
    "zero": ("image,reference\na.png,\0\n", "Line 2 of table.csv holds a zero byte"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_is_one_sentence_that_names_the_row(case: str) -> None:
    text, message = WRONG[case]
    if message is None:
        assert table(text)
        return
    with pytest.raises(InputError) as error:
        table(text)
    assert message in error.value.message
    assert error.value.remedy
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.png"}\n{"image": ', "Row 2 of t.jsonl is no JSON"),
        ("[1]", "Row 1 of t.jsonl has no image"),
        ('{"id": 1}', "Row 1 of t.jsonl has no image"),
        ('{"image": "a.png", "reference": {"a": 1}}', "Row 1 of t.jsonl: reference is no text"),
        ('{"image": "a.png", "references": [1]}', "Row 1 of t.jsonl: references is no list of texts"),
        ("[" * 100_000, "Row 1 of t.jsonl is no JSON"),
    ],
)
def test_a_wrong_line_of_json_is_named(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        table(line, "t.jsonl")


def test_a_hundred_thousand_rows_are_read_in_seconds() -> None:
    row = "a.png,ocr-{0},LAMP {0}\n"
    body = "image,id,reference\n" + "".join(row.format(i) for i in range(MAX_ITEMS))
    started = time.process_time()
    items = read_table(body.encode(), "t.csv", pictures("a.png"))
    assert len(items) == MAX_ITEMS
    assert time.process_time() - started < 10
    assert items.find("ocr-99999").references_for("ocr") == ("LAMP 99999",)


def test_one_row_more_than_are_accepted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.vlm.datasets.table.MAX_ITEMS", 2)
    assert len(table("image,id\na.png,1\na.png,2\n")) == 2
    with pytest.raises(InputError, match="has more than 2 rows"):
        table("image,id\na.png,1\na.png,2\na.png,3\n")


# Zips


def test_a_zip_with_a_table_beside_its_pictures() -> None:
    rows = "image,reference\nimg/ä.png,LAMP\n"
    items = zip_items(packed({"set/img/ä.png": PNG, "set/t.csv": rows, "__MACOSX/x.csv": "x"}), "set.zip")
    assert items.ids == ["set/img/ä.png"]
    assert items.at(0).load().width == 224


def test_a_zip_of_pictures_alone_and_its_digest() -> None:
    one = zip_items(packed({"b.png": PNG, "a.jpg": PNG, "notes.txt": "x", ".DS_Store": "x"}), "set.zip")
    assert one.ids == ["a.jpg", "b.png"]
    again = zip_items(packed({"b.png": PNG, "a.jpg": PNG, "notes.txt": "x"}), "other.zip")
    changed = zip_items(packed({"b.png": PNG[:-1] + b"x", "a.jpg": PNG, "notes.txt": "x"}), "set.zip")
    assert one.digest == again.digest != changed.digest


def test_names_that_are_utf8_and_do_not_say_so() -> None:
    data = packed({"xxx.png": PNG}).getvalue().replace(b"xxx.png", "é_.png".encode())
    assert zip_items(io.BytesIO(data), "set.zip").ids == ["é_.png"]


@pytest.mark.parametrize("path", ["../up.png", "/root.png", "a/../../b.png", "..\\up.png", "C:\\x.png"])
def test_a_zip_that_leads_outside_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="leads outside"):
        zip_items(packed({path: PNG}), "set.zip")


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = packed({"a.png": PNG, "bomb.png": bytes(60_000_000)})
    items = zip_items(bomb, "set.zip")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bomb\.png has 60\.0 MB"):
        items.at(1).load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    assert items.at(0).load().width == 224


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_announced() -> None:
    data = bytearray(packed({"bomb.png": bytes(50_000_000)}).getvalue())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (1000).to_bytes(4, "little")
    items = zip_items(io.BytesIO(bytes(data)), "set.zip")
    tracemalloc.start()
    with pytest.raises(InputError):
        items.at(0).load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_a_table_that_is_a_bomb_is_refused() -> None:
    with pytest.raises(InputError, match=r"t\.csv has 110 MB"):
        zip_items(packed({"a.png": PNG, "t.csv": bytes(110_000_000)}), "set.zip")


def test_other_zips_that_cannot_be_used() -> None:
    encrypted = bytearray(packed({"a.png": PNG}).getvalue())
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= ENCRYPTED
    wrong = {
        "no zip": (io.BytesIO(b"PNG not a zip"), "is no zip"),
        "cut": (io.BytesIO(packed({"a.png": PNG}).getvalue()[:-40]), "is no zip"),
        "encrypted": (io.BytesIO(bytes(encrypted)), "is encrypted"),
        "two tables": (packed({"a.csv": "image\n", "b.jsonl": ""}), "holds 2 tables, a.csv and b.jsonl"),
        "nothing": (packed({"readme.txt": "x"}), "holds no picture"),
    }
    for file, message in wrong.values():
        with pytest.raises(InputError, match=message):
            zip_items(file, "set.zip")


def test_a_broken_picture_is_named_when_it_is_its_turn() -> None:
    data = bytearray(packed({"a.png": PNG}).getvalue())
    data[60] ^= 0xFF
    items = zip_items(io.BytesIO(bytes(data)), "set.zip")
    with pytest.raises(InputError, match=r"a\.png in set\.zip cannot be read"):
        items.at(0).load()
    with pytest.raises(InputError, match=r"b\.png"):
        zip_items(packed({"b.png": b"no picture"}), "set.zip").at(0).load()


def test_twelve_thousand_pictures_in_a_zip() -> None:
    files = {f"p/{i:05d}.png": b"x" for i in range(12_000)}
    rows = "image\n" + "".join(f"{path}\n" for path in files)
    started = time.perf_counter()
    assert len(zip_items(packed({**files, "t.csv": rows}), "set.zip")) == 12_000
    assert time.perf_counter() - started < 10


# Folders and the words of the command line


def test_a_folder_with_a_table_and_one_without(folder: Folder) -> None:
    root = folder(**{"img/a.png": PNG, "b.png": PNG, ".hidden/c.png": PNG})
    plain = open_items(str(root))
    assert plain.ids == ["b.png", "img/a.png"]
    folder(**{"t.csv": "image,reference\nimg/a.png,LAMP\n"})
    for source in (root, root / "t.csv"):
        assert open_items(str(source)).ids == ["img/a.png"]
        assert open_items(str(source)).at(0).load().height == 224
    assert open_items(str(root)).digest != plain.digest


def test_a_link_that_leads_out_of_a_folder_is_passed_over(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    root = folder(**{"a.png": PNG, "t.csv": "image\nlink.png\n"})
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match=r"Row 2 of t\.csv: there is no file 'link\.png'"):
        open_items(str(root))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("scenes:0", "0 scenes"),
        ("scenes:100001", "100001 scenes"),
        ("scenes:x", "names no scenes"),
        ("scenes:5@-1", "names no scenes"),
        ("nowhere", "There is no file or folder nowhere"),
        (__file__, "is no data set"),
        ("\0", "There is no file or folder"),
    ],
)
def test_what_is_no_data_set(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_items(source)


def test_scenes_are_the_same_for_a_seed_and_fresh_for_another() -> None:
    first, again, other = scene_items(3, 7), open_items("scenes:5@7"), scene_items(3, 8)
    for at in range(3):
        assert first.at(at).load().sha256 == again.at(at).load().sha256 != other.at(at).load().sha256
    item = first.at(0)
    assert set(item.references) >= {"caption", "ocr", "objects", "question"}
    assert item.prompt_for("question").endswith(" Answer with one word.")
    assert not first.unprompted("question")
    assert first.unprompted("free")


@given(st.text(max_size=30))
def test_a_cleaned_path_never_leads_outside(path: str) -> None:
    cleaned = clean_path(path)
    if cleaned is not None:
        assert not cleaned.startswith("/")
        assert ".." not in cleaned.split("/")
        assert clean_path(cleaned) == cleaned
