"""Views that people keep by a name: each their own, no name twice, not without end."""

from datetime import UTC, datetime, timedelta

import pytest

from db import Store
from db.errors import InvalidRunError
from db.views import LONGEST_ADDRESS, LONGEST_NAME, MOST_VIEWS

HOSTILE = "'); DROP TABLE saved_view; -- <b>\u202e"


def test_a_view_comes_back_as_it_was_kept_and_only_to_its_owner(store: Store) -> None:
    store.keep_view("ada", "slow ones", "kind=vlm&q=a%20cup")
    store.keep_view("ada", f"  {HOSTILE} ", "")
    store.keep_view("bob", "slow ones", "kind=attention")
    newest, first = store.views("ada")
    assert (first.name, first.address) == ("slow ones", "kind=vlm&q=a%20cup")
    assert (newest.name, newest.address) == (HOSTILE, "")
    assert timedelta(0) <= datetime.now(UTC) - newest.time + timedelta(milliseconds=1) < timedelta(minutes=1)
    assert [view.address for view in store.views("bob")] == ["kind=attention"]
    assert store.views("carol") == ()
    assert store.check() == ()


def test_a_name_is_kept_once_and_can_be_dropped(store: Store) -> None:
    store.keep_view("ada", "mine", "q=old")
    store.keep_view("ada", "mine", "q=new")
    assert [view.address for view in store.views("ada")] == ["q=new"]
    assert not store.drop_view("bob", "mine")
    assert store.drop_view("ada", "mine") and not store.drop_view("ada", "mine")
    assert store.views("ada") == ()


@pytest.mark.parametrize(
    ("name", "address"), [(" ", ""), ("x" * (LONGEST_NAME + 1), ""), ("x", "y" * (LONGEST_ADDRESS + 1))]
)
def test_what_cannot_be_kept_is_a_sentence(store: Store, name: str, address: str) -> None:
    with pytest.raises(InvalidRunError) as caught:
        store.keep_view("ada", name, address)
    assert caught.value.message and caught.value.remedy
    assert store.views("ada") == ()


def test_an_owner_keeps_so_many(store: Store) -> None:
    for number in range(MOST_VIEWS):
        store.keep_view("ada", str(number), "")
    with pytest.raises(InvalidRunError, match="already"):
        store.keep_view("ada", "one more", "")
    store.keep_view("ada", "7", "q=again")  # in the place of another
    assert len(store.views("ada")) == MOST_VIEWS
