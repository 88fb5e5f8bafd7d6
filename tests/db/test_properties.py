"""What goes in comes out: any JSON, any text, any number, on both databases."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.runs import Artifact, Environment, Metric
from db import RunFilter, Store
from db.rows import clean_text
from tests.support.runs import Picture, draft

FINITE = st.floats(allow_nan=False, allow_infinity=False)
UNICODE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | UNICODE
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(UNICODE, inner, max_size=3),
    max_leaves=8,
)
ANY_TEXT = st.text(st.characters(), max_size=40)
NAMES = st.lists(ANY_TEXT, max_size=3, unique_by=clean_text)

many = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(
    parameters=st.dictionaries(UNICODE, VALUES, max_size=4),
    note=ANY_TEXT,
    tags=st.lists(ANY_TEXT, max_size=3),
)
def test_parameters_and_words(store: Store, parameters: dict[str, Any], note: str, tags: list[str]) -> None:
    run = store.run(store.record(draft(parameters=parameters, note=note, tags=tags)), "ada")
    assert run.parameters == parameters
    assert run.note == clean_text(note)
    assert run.tags == tuple(sorted({clean_text(tag).strip() for tag in tags} - {""}))
    json.dumps(run.to_json(), ensure_ascii=False).encode()


@many
@given(
    metrics=st.lists(
        st.builds(Metric, ANY_TEXT, FINITE, ANY_TEXT, st.none() | st.integers(0, 2**63 - 1)), max_size=5
    ),
    duration_ms=st.none() | st.floats(0, allow_infinity=False),
)
def test_numbers(store: Store, metrics: list[Metric], duration_ms: float | None) -> None:
    run = store.run(store.record(draft(metrics=metrics, duration_ms=duration_ms)), "ada")
    assert run.duration_ms == duration_ms
    assert [(m.name, m.value, m.unit, m.step) for m in run.metrics] == [
        (clean_text(m.name), m.value, clean_text(m.unit), m.step) for m in metrics
    ]


@many
@given(names=NAMES, contents=st.lists(st.binary(max_size=50), min_size=3, max_size=3))
def test_files_and_pictures(store: Store, names: list[str], contents: list[bytes]) -> None:
    named = dict(zip(names, contents, strict=False))
    files = [Artifact(name, "application/octet-stream", data) for name, data in named.items()]
    pictures = {name: Picture(name, data + b"!") for name, data in named.items()}
    run_id = store.record(draft(artifacts=files, pictures=pictures))
    run = store.run(run_id, "ada")
    for name, data in named.items():
        assert store.artifact(run_id, clean_text(name), "ada") == data
        assert store.picture_data(run_id, clean_text(name), "ada") == data + b"!"
    assert [p.name for p in run.inputs] == [clean_text(name) for name in names]
    assert store.check() == ()
    store.delete([run_id], "ada")
    assert store.check() == ()


@many
@given(
    environment=st.builds(
        Environment,
        ANY_TEXT,
        ANY_TEXT,
        ANY_TEXT,
        st.integers(0, 2**31 - 1),
        st.dictionaries(UNICODE, UNICODE, max_size=3),
        ANY_TEXT,
    )
)
def test_environments(store: Store, environment: Environment) -> None:
    run = store.run(store.record(draft(environment=environment)), "ada")
    assert run.environment.versions == environment.versions
    assert run.environment.threads == environment.threads
    for name in ("device", "device_name", "dtype", "git_revision"):
        assert getattr(run.environment, name) == clean_text(getattr(environment, name))
    assert store.facets(RunFilter(devices=(run.environment.device,))).devices.keys() == {
        run.environment.device
    }
