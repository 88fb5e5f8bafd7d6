"""Calls that may have been paid and brought no row, and where the calls of a ledger stand."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from core.ledger import Ledger
from core.runs import Metric
from core.vlm.prices import PriceTable
from core.vlm.setrun.estimate import look, most_usd, price_of
from core.vlm.setrun.plan import Plan

LOST = "lost_usd"
"""Metric of the parent: what may have been paid for calls that brought no row."""
LOST_CALLS = "lost_calls"
"""Metric of the parent: how many calls those were."""
ATTEMPTS = 3
"""Most attempts of a call."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Calls that may have been paid and brought no row: cancelled, or under way at a crash."""

    calls: int
    usd: float

    def __add__(self, other: "Lost") -> "Lost":
        return Lost(self.calls + other.calls, self.usd + other.usd)

    def metrics(self) -> list[Metric]:
        """Return it as the parent run keeps it."""
        return [Metric(LOST_CALLS, self.calls), Metric(LOST, self.usd, "USD")]


NOTHING_LOST = Lost(0, 0.0)


def counted(ledger: Ledger, set_id: str, owner: str) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return how many calls are done and failed, and the claimed ones by model and task."""
    counts: Counter[str] = Counter()
    claimed: Counter[tuple[str, str]] = Counter()
    for row in ledger.call_counts(set_id, owner):
        if row.state == "claimed":
            claimed[row.model_id, row.task] += row.count
        if row.state == "done":
            counts["done"] += row.count
            counts["failed" if row.status != "ok" else "ok"] += row.count
    return counts, claimed


def lost_of(plan: Plan, claimed: Counter[tuple[str, str]], prices: PriceTable) -> Lost:
    """Return the most that calls which were under way at a crash may have cost, where prices are known."""
    if not claimed:
        return NOTHING_LOST
    today, seen = datetime.now(UTC).date(), look(plan)
    total = 0.0
    for (model, task), count in claimed.items():
        price = price_of(model, prices, today)
        most = most_usd(model, price, seen.longest(task), seen.largest, plan.max_tokens, ATTEMPTS)
        total += count * (most or 0.0)
    return Lost(claimed.total(), total)
