"""What a score consists of: values only."""

from dataclasses import dataclass

from core.errors import InputError


@dataclass(frozen=True, slots=True)
class Value:
    """One number about an answer."""

    name: str
    """Short and fixed, such as `token_f1`: what it is stored under."""
    title: str
    value: float
    unit: str = "0-1"
    """Its range: `0-1`, or `0 and up` for error rates, which have no upper end."""
    higher_is_better: bool = True
    note: str = ""
    """How it is computed, or what to know before comparing it."""


@dataclass(frozen=True, slots=True)
class ObjectMatch:
    """Which objects were named, missed and made up."""

    matched: tuple[str, ...]
    """References that were named, as the references have them."""
    missed: tuple[str, ...]
    """References that were not."""
    hallucinated: tuple[str, ...]
    """Names in the answer that no reference has, as the answer has them."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How good one answer is.

    Raises:
        InputError: `main` is none of the values.
    """

    main: str
    """Name of the value to rank by."""
    values: tuple[Value, ...]
    right: bool | None = None
    """Whether it is simply right; None where there is no such thing, as for captions."""
    objects: ObjectMatch | None = None
    """Where objects were looked for: the tasks objects and caption."""
    note: str = ""
    """What of the answer was not looked at."""

    def __post_init__(self) -> None:
        if self.main not in {value.name for value in self.values}:
            raise InputError(f"There is no score {self.main!r} here.", "Name one of the values.")

    @property
    def main_value(self) -> Value:
        """The value to rank by."""
        return next(value for value in self.values if value.name == self.main)

    def value(self, name: str) -> float | None:
        """Return a value by its name, or None."""
        return next((value.value for value in self.values if value.name == name), None)
