"""Vectors of pictures: in order, replaced, gone with their picture, and who may find what; everywhere."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.features.search_values import PictureStore
from db import Store
from db.errors import RunNotFoundError, StoreError
from db.models import Vector
from tests.support.runs import CAT, DOG, Picture, draft, rows_of

SPACE, OTHER = "a" * 64, "b" * 64
COW = Picture("cow.png", b"bytes of a cow")


@pytest.fixture
def farm(store: Store) -> Iterator[Store]:
    """A store in which Ada has a cat and a dog, Bob has a cow."""
    store.record(draft(owner="ada", pictures={"first": CAT, "second": DOG}))
    store.record(draft(owner="bob", pictures={"picture": COW}))
    yield store
    assert store.check() == ()


def kept(store: Store, space: str = SPACE) -> dict[str, bytes]:
    return {row.sha256: row.data for row in store.vectors(space)}


# Keeping


def test_vectors_survive_and_come_in_the_order_of_their_ids(url: str) -> None:
    with Store.open(url) as store:
        typed: PictureStore = store
        store.record(draft(pictures={"first": CAT, "second": DOG}))
        typed.put_vectors(SPACE, {CAT.sha256: b"cat"})
        store.put_vectors(SPACE, {DOG.sha256: b"dog"})
        store.put_vectors(OTHER, {DOG.sha256: b"other"})
    with Store.open(url) as again:
        first, second = again.vectors(SPACE)
        assert (first.sha256, first.data) == (CAT.sha256, b"cat")
        assert (second.sha256, second.data) == (DOG.sha256, b"dog")
        assert first.id < second.id
        assert again.vectors(SPACE, after=first.id) == (second,)
        assert again.vectors(SPACE, after=second.id) == ()
        assert again.vectors(SPACE, limit=1) == (first,)
        assert kept(again, OTHER) == {DOG.sha256: b"other"}


def test_a_replaced_vector_is_a_new_row_behind_all_others(farm: Store) -> None:
    farm.put_vectors(SPACE, {CAT.sha256: b"cat", DOG.sha256: b"dog"})
    last = farm.vectors(SPACE)[-1].id
    farm.put_vectors(SPACE, {CAT.sha256: b"lion"})
    (new,) = farm.vectors(SPACE, after=last)
    assert (new.sha256, new.data) == (CAT.sha256, b"lion")
    assert kept(farm) == {CAT.sha256: b"lion", DOG.sha256: b"dog"}


def test_an_id_is_never_given_twice(farm: Store) -> None:
    """Else a reader who knows the old one would miss the new one."""
    farm.put_vectors(SPACE, {CAT.sha256: b"cat"})
    (old,) = farm.vectors(SPACE)
    farm.drop_vectors(SPACE, [CAT.sha256])
    assert farm.vectors(SPACE) == ()
    farm.put_vectors(SPACE, {DOG.sha256: b"dog"})
    assert [row.sha256 for row in farm.vectors(SPACE, after=old.id)] == [DOG.sha256]


def test_a_picture_that_is_not_there_is_passed_over(farm: Store) -> None:
    farm.put_vectors(SPACE, {"0" * 64: b"nobody", CAT.sha256: b"cat"})
    assert kept(farm) == {CAT.sha256: b"cat"}


def test_vectors_go_with_their_picture(farm: Store) -> None:
    farm.put_vectors(SPACE, {CAT.sha256: b"cat", COW.sha256: b"cow"})
    farm.put_vectors(OTHER, {COW.sha256: b"cow"})
    run_id = farm.find_pictures([COW.sha256], "bob")[COW.sha256].run_id
    assert farm.delete([run_id], "bob") == 1
    assert kept(farm) == {CAT.sha256: b"cat"}
    assert rows_of(farm, Vector) == 1


def test_what_is_put_at_once_is_read_in_order_by_who_reads_on(url: str) -> None:
    """Every row has a larger id than those that were read before it was committed."""
    pictures = {f"p{i}": Picture(f"{i}.png", b"picture %d" % i) for i in range(60)}
    found: dict[str, bytes] = {}

    def write(store: Store, names: list[str]) -> None:
        for name in names:
            store.put_vectors(SPACE, {pictures[name].sha256: name.encode()})

    with Store.open(url) as first, Store.open(url) as second, ThreadPoolExecutor(4) as threads:
        first.record(draft(pictures=pictures))
        names = list(pictures)
        jobs = [threads.submit(write, (first, second)[i % 2], names[i::4]) for i in range(4)]
        last = 0
        while True:
            ended = all(job.done() for job in jobs)
            for row in first.vectors(SPACE, after=last):
                found[row.sha256], last = row.data, row.id
            if ended:
                break
        for job in jobs:
            job.result()
    assert found == {picture.sha256: name.encode() for name, picture in pictures.items()}


def test_a_space_is_a_digest_and_a_picture_has_one_vector_in_it(farm: Store) -> None:
    with pytest.raises(StoreError):
        farm.put_vectors("short", {CAT.sha256: b"cat"})
    farm.put_vectors(SPACE, {CAT.sha256: b"cat"})
    twice = text(
        "INSERT INTO vector (space, image_sha256, data) SELECT space, image_sha256, data FROM vector"
    )
    with pytest.raises(IntegrityError), farm._database.engine.begin() as connection:
        connection.execute(twice)


# Who may find what


def test_each_visitor_finds_own_and_shared_pictures_only(farm: Store) -> None:
    everything = [CAT.sha256, DOG.sha256, COW.sha256]
    assert farm.find_pictures(everything, "ada").keys() == {CAT.sha256, DOG.sha256}
    assert farm.find_pictures(everything, "bob").keys() == {COW.sha256}
    assert farm.find_pictures(everything, "eve") == {}
    assert farm.find_pictures(everything, None).keys() == set(everything)
    assert farm.seen_pictures("ada") == {CAT.sha256, DOG.sha256}
    assert farm.seen_pictures("eve") == frozenset()
    cow = farm.find_pictures(everything, "bob")[COW.sha256]
    with pytest.raises(RunNotFoundError):
        farm.picture_data(cow.run_id, cow.role, "ada")
    farm.annotate(cow.run_id, "bob", shared=True)
    assert farm.find_pictures(everything, "ada").keys() == set(everything)
    assert farm.seen_pictures("eve") == {COW.sha256}
    farm.annotate(cow.run_id, "bob", shared=False)
    assert farm.find_pictures(everything, "eve") == {}
    assert farm.seen_pictures("ada") == {CAT.sha256, DOG.sha256}


def test_the_same_picture_of_two_visitors_is_found_by_each_in_the_own_run(farm: Store) -> None:
    bobs = farm.record(draft(owner="bob", pictures={"picture": Picture("my tom.png", CAT.data)}))
    for_ada, for_bob = (farm.find_pictures([CAT.sha256], owner)[CAT.sha256] for owner in ("ada", "bob"))
    assert (for_bob.run_id, for_bob.role, for_bob.name) == (bobs, "picture", "my tom.png")
    assert (for_ada.role, for_ada.name) == ("first", "cat.png")
    assert farm.picture_data(for_ada.run_id, for_ada.role, "ada") == CAT.data


def test_the_newest_run_names_a_picture_and_its_first_part(farm: Store) -> None:
    twice = farm.record(draft(owner="ada", pictures={"left": DOG, "right": DOG}))
    found = farm.find_pictures([DOG.sha256], "ada")[DOG.sha256]
    assert (found.run_id, found.role) == (twice, "left")
    assert found.time == farm.run(twice, "ada").time


def test_pictures_without_a_vector_are_those_that_the_visitor_may_see(farm: Store) -> None:
    farm.put_vectors(SPACE, {CAT.sha256: b"cat"})
    assert farm.pictures_without_vector(SPACE, "ada") == (DOG.sha256,)
    assert farm.pictures_without_vector(SPACE, "bob") == (COW.sha256,)
    assert farm.pictures_without_vector(SPACE, "eve") == ()
    assert farm.pictures_without_vector(OTHER, None) == tuple(sorted([CAT.sha256, DOG.sha256, COW.sha256]))
    farm.drop_vectors(SPACE, [CAT.sha256])
    assert farm.pictures_without_vector(SPACE, "ada") == tuple(sorted([CAT.sha256, DOG.sha256]))


def test_a_picture_whose_file_is_not_kept_is_not_found(url: str) -> None:
    with Store.open(url, keep_pictures=False) as store:
        store.record(draft(pictures={"picture": CAT}))
        assert store.find_pictures([CAT.sha256], "ada") == {}
        assert store.pictures_without_vector(SPACE, "ada") == ()
