"""What a report says: of nothing, of one run, of many; in which time zone; of whose runs."""

import itertools
import shlex
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.errors import InputError
from core.report.document import Chart, Code, Document, Exchange, Table, Text
from core.report.request import SECTIONS, Request, span_bounds, store_name, whole_days
from core.report.words import digits, is_rtl, moment, ms, shown, usd
from core.runs import Metric, RunDraft
from db import Store
from tests.core.report.conftest import NOW, SEOUL, Reported
from tests.support.report_runs import UNTIL, seed
from tests.support.runs import GPU, draft, text_file

BERLIN = ZoneInfo("Europe/Berlin")


def texts(document: Document) -> str:
    """Return every paragraph."""
    found = [
        block.text for section in document.sections for block in section.blocks if isinstance(block, Text)
    ]
    return "\n".join(found)


def section(document: Document, key: str, kind: type) -> list:  # type: ignore[type-arg]
    """Return the blocks of one kind in a section."""
    return [b for s in document.sections if s.key == key for b in s.blocks if isinstance(b, kind)]


def test_no_runs_are_said_plainly(report: Reported) -> None:
    document = report(models=("vit",))
    assert [part.key for part in document.sections] == ["nothing"]
    assert "No run fits the period and the filters above" in texts(document)
    assert dict(document.facts.pairs)["Runs"] == "0 runs"


def test_one_run_has_no_interval_and_is_grey(store: Store, report: Reported) -> None:
    store.record(draft())
    document = report()
    assert [part.key for part in document.sections] == list(SECTIONS)
    (table,) = section(document, "times", Table)
    row = table.rows[0]
    assert [cell.text for cell in row][3:] == ["1", "12.5 ms", "12.5 ms", "12.5 ms"]
    assert all(cell.grey for cell in row[4:])
    assert "nothing to compare" in texts(document)
    assert "None of 1 finished run failed." in texts(document)


def test_a_report_says_where_it_comes_from(store: Store, report: Reported) -> None:
    store.record(draft())
    facts = dict(report(kinds=("attention",)).facts.pairs)
    assert facts["Made"] == "2026-11-26 21:00 UTC+09:00"
    assert facts["Time zone"] == "Asia/Seoul"
    assert facts["Kinds of run"] == "attention"
    assert facts["Store"] == "SQLite file test"
    assert facts["App revision"] == "abc123"


def test_other_owners_are_never_in_it(store: Store, report: Reported) -> None:
    store.record(draft(owner="bob", model_id="secret_model", kind="vlm", parameters={"prompt": "secret"}))
    store.record(draft())
    assert "secret" not in repr(report())


def test_sections_are_those_that_were_asked_for_in_order(store: Store, report: Reported) -> None:
    store.record(draft())
    assert [part.key for part in report(sections=("costs", "runs")).sections] == ["runs", "costs"]


def test_numbers_of_many_runs(store: Store, report: Reported) -> None:
    seed(store, 600)
    document = report()
    (verdicts,) = [s for s in document.sections if s.key == "verdicts"]
    told = [b.text for b in verdicts.blocks if isinstance(b, Text) and b.role == "verdict"]
    assert any("resnet50 [float32] is faster than vit_base_patch16 [float32] by 7" in text for text in told)
    assert "failed before anything was counted" in texts(document)
    (failures,) = section(document, "failures", Table)
    failed = sum(int(row[3].text) for row in failures.rows)
    assert f"{failed} runs of 601 failed" in texts(document)
    charts = [block for s in document.sections for block in s.blocks if isinstance(block, Chart)]
    assert len(charts) == 7
    assert all(chart.alt for chart in charts)


def test_questions_and_answers_are_shown_as_they_are(store: Store, report: Reported) -> None:
    prompt, answer = "고양이? <b>\u202e\x07", "두 마리 =1+1"
    store.record(
        draft(
            kind="vlm",
            model_id="openai/x",
            parameters={"task": "question", "prompt": prompt, "references": ["둘"]},
            artifacts=[text_file("answer.txt", answer)],
        )
    )
    store.record(
        draft(kind="vlm", model_id="openai/x", status="failed", error_class="blocked", parameters={})
    )
    failed, ok = section(report(), "examples", Exchange)
    assert ok.question == "고양이? <b>[U+202E][U+0007]"
    assert ok.answer == answer
    assert "true: 둘" in ok.foot
    assert failed.failed
    assert failed.answer.startswith("blocked: ")


def test_hostile_parameters_do_not_break_the_commands(store: Store, report: Reported) -> None:
    evil = "x'; rm -rf / #\n$(id)"
    store.record(draft(kind="vlm", model_id=evil, parameters={"prompt": evil, "references": 3, "task": None}))
    store.record(draft(kind="vlm-set", model_id=evil, parameters={"models": "no list", "data": evil}))
    code = section(report(), "reproduce", Code)[1]
    lines = code.text.split("\n")
    assert len(lines) == 2
    assert shlex.split(lines[0])[:4] == ["python", "-m", "core", "ask"]
    assert "$(id)" not in [word for line in lines for word in shlex.split(line)]


def test_answers_of_a_test_server_are_called_so(store: Store, report: Reported) -> None:
    store.record(draft(kind="vlm", parameters={"loopback": True, "task": "free", "prompt": "?"}))
    assert "was answered by a test server" in texts(report())


def test_devices_are_apart(store: Store, report: Reported) -> None:
    for environment_ms in (10.0, 20.0):
        store.record(draft(duration_ms=environment_ms))
    store.record(draft(environment=GPU, duration_ms=1.0, metrics=[Metric("a", 1.0)]))
    (table,) = section(report(), "times", Table)
    assert [row[2].text for row in table.rows] == ["Test GPU", "Test CPU, 2 threads"]


def benchmark(model: str, median: float, **more: float) -> RunDraft:
    """Return a benchmark as `core.bench` leaves it."""
    numbers = {"samples": 100, "p50_ms": median, "p50_ms_low": median * 0.97, "p50_ms_high": median * 1.03}
    numbers |= {
        "p90_ms": median * 1.2,
        "load_ms": 900,
        "images_per_s_batch_1": 90,
        "peak_memory_mb": 512,
    } | more
    return draft(
        kind="benchmark",
        model_id=model,
        duration_ms=60_000,
        parameters={"pictures": ["a.png"], "options": {"compiled": True, "size": 224}, "noise": "calm"},
        metrics=[Metric(name, value) for name, value in numbers.items()],
    )


def test_benchmarks_bring_their_own_intervals(store: Store, report: Reported) -> None:
    store.record(benchmark("slow", 30.0))
    store.record(benchmark("quick", 20.0, top1=0.8, top1_low=0.7, top1_high=0.9, top1_n=80, top1_chance=0.1))
    document = report()
    times, costs, accuracy = section(document, "benchmarks", Table)
    assert [cell.text for cell in times.rows[0]][4:] == ["20.0 ms (19.4–20.6)", "24.0 ms", "–"]
    assert not times.rows[0][5].grey
    assert [cell.text for cell in costs.rows[0]][1:] == ["900 ms", "–", "90.0", "1", "512 MB", "calm"]
    assert [cell.text for cell in accuracy.rows[0]][1:] == ["top1", "80", "80.0 % (70.0–90.0)", "10.0 %"]
    verdicts = [text.text for text in section(document, "verdicts", Text) if text.role == "verdict"]
    more = "[float32] compiled at 224 px"
    assert len(verdicts) == 1  # how long a benchmark took says nothing
    assert verdicts[0].startswith(f"quick {more} is faster than slow {more} by 33 %, between 30 and 36 %")


# Request


def test_a_period_must_not_end_before_it_begins() -> None:
    with pytest.raises(InputError, match="ends before it begins"):
        Request(NOW, NOW - timedelta(days=1), UTC)
    with pytest.raises(InputError, match="no section 'x'"):
        Request(None, None, UTC, sections=("x",))
    with pytest.raises(InputError, match="has no section"):
        Request(None, None, UTC, sections=())


def test_days_are_those_of_the_time_zone() -> None:
    since, until = whole_days(date(2026, 10, 25), date(2026, 10, 25), BERLIN)
    assert (since, until) == (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC))
    with pytest.raises(InputError):
        whole_days(date.min, date.max, SEOUL)


def test_spans_begin_at_midnight_over_a_change_of_clocks() -> None:
    bounds, span = span_bounds(
        datetime(2026, 10, 20, 9, tzinfo=UTC), datetime(2026, 10, 28, 9, tzinfo=UTC), BERLIN
    )
    assert span == "day"
    assert all(bound.astimezone(BERLIN).hour == 0 for bound in bounds)
    assert timedelta(hours=25) in [b - a for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("days", [0, 1, 2, 3, 62, 63, 500, 4000])
def test_spans_hold_both_ends_and_are_not_many(days: int) -> None:
    first = UNTIL - timedelta(days=days)
    bounds, _ = span_bounds(first, UNTIL, BERLIN)
    assert bounds[0] <= first
    assert bounds[-1] > UNTIL
    assert 2 <= len(bounds) <= 63
    assert bounds == sorted(set(bounds))


def test_a_store_is_named_without_its_password() -> None:
    assert store_name("sqlite:////data/a/runs.sqlite3") == "SQLite file runs.sqlite3"
    named = store_name("postgresql://ada:geheim@db.example/bench")
    assert named == "PostgreSQL database bench on db.example"
    assert store_name("postgresql://ada:geheim@db.example/bench", whole=False) == "PostgreSQL database"


# Words


def test_numbers_and_times() -> None:
    assert [ms(value) for value in (0.4, 12.5, 152.3, 2_310, 90_000, 3.6e6)] == [
        "0.400 ms",
        "12.5 ms",
        "152 ms",
        "2.31 s",
        "1.50 min",
        "1.00 h",
    ]
    assert [usd(value) for value in (0, 0.00041, 12.3, 1e-6)] == ["$0", "$0.00041", "$12.30", "$1.0e-06"]
    assert [digits(value) for value in (0.0, 1.0, 1234.5, 1e-7, -0.5)] == [
        "0",
        "1.00",
        "1,234",
        "1.0e-07",
        "-0.500",
    ]
    assert moment(NOW, ZoneInfo("America/St_Johns")) == "2026-11-26 08:30 UTC-03:30"
    assert moment(NOW, UTC) == "2026-11-26 12:00 UTC"


def test_long_texts_are_cut_and_say_so() -> None:
    assert shown("a" * 1_300, 1_200).endswith("… (100 more characters)")
    assert shown("\u200b \u202e", 10) == "[U+200B] [U+202E]"
    assert [is_rtl(text) for text in ("123 שלום", "cat قطة", "", "12")] == [True, False, False, False]
