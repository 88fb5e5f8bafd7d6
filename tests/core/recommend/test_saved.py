"""A recommendation as a run of the real store, and what has changed since."""

from pathlib import Path

import pytest

from core.errors import InputError
from core.recommend.answer import recommend
from core.recommend.facts import environment_here
from core.recommend.request import Request
from core.recommend.saved import ANSWER, KIND, changes, draft_of, read_saved, saved_of
from core.runs import LOCAL_OWNER
from db import Store
from tests.support.recommending import CPU, TASK, benchmark, catalog, entry, facts

REQUEST = Request(TASK, latency_ms=50)


def test_a_saved_recommendation_is_read_as_it_was(tmp_path: Path) -> None:
    known = facts(catalog(entry("a", 80, 20, runs="a"), entry("b", 70, 10)), benchmark("a", 33.0))
    answer = recommend(REQUEST, known)
    with Store.open(f"sqlite:///{tmp_path / 'runs.sqlite3'}") as store:
        run_id = store.record(
            draft_of(answer, owner=LOCAL_OWNER, environment=environment_here(), duration_ms=12.0)
        )
        run = store.run(run_id, LOCAL_OWNER)
        saved = read_saved(store.artifact(run_id, ANSWER, LOCAL_OWNER))
    assert (run.kind, run.status, run.parameters["first"]) == (KIND, "ok", "a")
    assert saved == saved_of(answer)
    assert saved.request == REQUEST
    assert changes(saved, saved_of(answer)) == ()


def test_new_measurements_show_as_changes() -> None:
    known = catalog(entry("a", 80, 20, runs="a"), entry("b", 70, 10, runs="b"))
    before = saved_of(recommend(REQUEST, facts(known, benchmark("a", 40.0), benchmark("b", 60.0))))
    after = saved_of(recommend(REQUEST, facts(known, benchmark("a", 70.0), benchmark("b", 30.0))))
    assert changes(before, after) == (
        "First is now B; it was A.",
        "B fits now.",
        "A does not fit any more.",
    )
    faster = saved_of(recommend(REQUEST, facts(known, benchmark("a", 20.0), benchmark("b", 60.0))))
    assert changes(before, faster) == ("A: latency 40 ms (measured) is now 20 ms (measured).",)
    assert changes(before, saved_of(recommend(REQUEST, facts(known, benchmark("a", 40.1)))))[0:0] == ()


def test_a_measured_number_in_place_of_a_published_one_is_a_change() -> None:
    request = Request(TASK, device=CPU)
    empty = saved_of(recommend(request, facts(catalog(entry("a", 80)))))
    known = saved_of(recommend(request, facts(catalog(entry("a", 80, 20)))))
    assert changes(empty, known) == ("A: latency not known is now 20 ms (published).",)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"recommendations": [{"model": 1}]}', b'{"recommendations": 3}']
)
def test_what_is_no_recommendation_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_saved(data)
