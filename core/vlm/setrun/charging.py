"""One call's run on its way into the ledger, and what it is charged to the budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.ledger import Ledger
from core.runs import Metric, RunDraft
from core.vlm.base import Outcome

CHARGED = "charged_usd"
"""Metric of a call: what its budget was charged, which is its cost where that is known."""
UNPAID = frozenset(
    {
        Outcome.RATE_LIMITED,
        Outcome.AUTH,
        Outcome.QUOTA,
        Outcome.MODEL_GONE,
        Outcome.BAD_REQUEST,
        Outcome.SERVER_ERROR,
    }
)
"""Outcomes of requests that were turned away: no provider charges for those."""


def charge(parameters: Mapping[str, Any], most_usd: float | None) -> float | None:
    """Return what a call is charged: its cost, and the most for each attempt that may have been paid unseen.

    An attempt that broke off after it was sent says nothing of its cost, and neither does an answer without
    counts of tokens. None where that cannot be told because the price is unknown.

    Args:
        parameters: Of the call's run.
        most_usd: Of one attempt.
    """
    paid = [attempt for attempt in parameters.get("attempts", ()) if attempt["outcome"] not in UNPAID]
    cost = parameters.get("cost")
    unseen = max(0, len(paid) - 1) if cost is not None else len(paid)
    if unseen and most_usd is None:
        return None
    return (cost["usd"] if cost is not None else 0.0) + unseen * (most_usd or 0.0)


@dataclass(slots=True)
class CallSink:
    """Takes the run of one call, and marks the call as done in the same transaction.

    A cancelled run is kept for itself: its call stays open.
    """

    ledger: Ledger
    set_id: str
    position: int
    most_usd: float | None
    """Of one attempt."""
    charged: float | None = field(default=None, init=False)
    status: str = field(default="", init=False)
    """Of the run, once there is one."""

    def record(self, run: RunDraft) -> str:
        """Keep the run."""
        self.charged = charge(run.parameters, self.most_usd)
        if self.charged is not None:
            run = replace(run, metrics=[*run.metrics, Metric(CHARGED, self.charged, "USD")])
        if run.status == "cancelled":
            run_id = self.ledger.record(run)
        else:
            run_id = self.ledger.finish_call(self.set_id, self.position, run)
        self.status = run.status
        return run_id
