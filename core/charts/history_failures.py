"""When runs failed, and in which way: the share of each class of failure over time. Numbers, then looks."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_outcomes import COLOURS, OK, OTHERS, RUNNING, own_classes
from core.charts.history_shared import (
    GREY,
    LEGEND_PX,
    SPANS,
    bucket_target,
    frame_times,
    framed,
    name_of,
    said_time,
    shown_time,
)


class Counted(Protocol):
    """How many runs of a bucket came to an outcome; `db`'s `OutcomePoint` has this shape."""

    @property
    def time(self) -> datetime: ...
    @property
    def outcome(self) -> str: ...
    @property
    def count(self) -> int: ...


class Bucket(NamedTuple):
    """The runs of one bucket that ended."""

    time: datetime
    ended: int
    counts: dict[str, int]
    """By outcome."""

    @property
    def failed(self) -> int:
        """How many did not succeed."""
        return self.ended - self.counts.get(OK, 0)


class FailuresInfo(NamedTuple):
    """What the chart shows."""

    bucket: str
    zone: tzinfo
    classes: list[str]
    """Of failures, the most frequent first."""
    buckets: list[Bucket]
    """In order of time; those in which a run ended."""


def failures_info(rows: Sequence[Counted], bucket: str, zone: tzinfo) -> FailuresInfo:
    """Count outcomes by bucket; what still runs is left out."""
    by_time: dict[datetime, dict[str, int]] = {}
    total: dict[str, int] = {}
    for row in rows:
        if row.outcome != RUNNING:
            counts = by_time.setdefault(row.time, {})
            counts[row.outcome] = counts.get(row.outcome, 0) + row.count
            total[row.outcome] = total.get(row.outcome, 0) + row.count
    classes = sorted(total.keys() - {OK}, key=lambda name: (-total[name], name))
    buckets = [Bucket(time, sum(counts.values()), counts) for time, counts in sorted(by_time.items())]
    return FailuresInfo(bucket, zone, classes, buckets)


def failures_table(info: FailuresInfo) -> list[dict[str, object]]:
    """Return a row for each bucket in which a run ended."""
    return [
        {
            "time": said_time(one.time, info.bucket, info.zone),
            "runs that ended": one.ended,
            "failed": one.failed,
            "share that failed": one.failed / one.ended,
            **{name: one.counts.get(name, 0) for name in info.classes},
        }
        for one in info.buckets
    ]


def failures_figure(info: FailuresInfo, titles: Mapping[str, str]) -> go.Figure:
    """Draw a bar for each bucket: the share of its runs that failed, divided by class.

    Args:
        titles: Outcome to its words; one that is not there is its own title.
    """
    own = own_classes(info.classes)
    figure = go.Figure(
        [
            _trace(info, [name], titles.get(name, name), colour)
            for name, colour in zip(own, COLOURS, strict=False)
        ]
    )
    if rest := info.classes[len(own) :]:
        figure.add_trace(_trace(info, rest, OTHERS, GREY, "/"))
    figure.update_yaxes(title="share of the runs that ended", tickformat=".0%", rangemode="tozero")
    frame_times(figure, [one.time for one in info.buckets], info.bucket, info.zone)
    return framed(figure, 300 + LEGEND_PX * len(figure.data), barmode="stack", showlegend=True)


def _trace(info: FailuresInfo, names: Sequence[str], title: str, colour: str, pattern: str = "") -> go.Bar:
    outcome = names[0] if len(names) == 1 else ""
    counts = [sum(one.counts.get(name, 0) for name in names) for one in info.buckets]
    return go.Bar(
        x=[shown_time(one.time, info.bucket, info.zone) for one in info.buckets],
        y=[n / one.ended for n, one in zip(counts, info.buckets, strict=True)],
        width=SPANS[info.bucket] / timedelta(milliseconds=1) * 0.8,
        offset=0,
        name=name_of(title),
        marker={"color": colour, "pattern": {"shape": pattern}},
        customdata=[
            [
                *bucket_target(outcome, one.time, info.bucket),
                said_time(one.time, info.bucket, info.zone),
                n,
                one.ended,
            ]
            for n, one in zip(counts, info.buckets, strict=True)
        ],
        hovertemplate="%{customdata[3]}<br>%{customdata[4]:,} of %{customdata[5]:,} runs, %{y:.1%}"
        f"<extra>{name_of(title)}</extra>",
    )
