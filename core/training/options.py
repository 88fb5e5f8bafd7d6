"""What the configurations of all trainings share."""

from core.errors import InputError


class Options:
    """Base of a configuration: a dataclass that checks its values."""

    __slots__ = ()

    def _require(self, name: str, is_met: bool, expected: str) -> None:
        """Raise an InputError that names the option, unless its value is as expected."""
        if not is_met:
            raise InputError(
                f"The training option {name} is {getattr(self, name)}.", f"It must be {expected}."
            )
