"""What can go wrong, as one tree.

    VisionBenchError            message for a person, and how to mend it
    ├── InputError              the person can fix it: bad picture, bad prompt, unknown name
    ├── SetupError              something is missing here: weights, a package, a key
    │   └── OfflineError        it would have to be downloaded and there is no network
    └── ProviderError           a remote service refused, failed or answered nonsense

The result store has its own root, `db.errors.StoreError`, because `db` imports nothing from `core`.
Errors of other libraries are translated where they enter, with `raise ... from error`; anything that is
not in these trees is a bug and keeps its traceback.
"""


class VisionBenchError(Exception):
    """An expected failure.

    Args:
        message: One sentence: what was wrong.
        remedy: One sentence: how to mend it. Shown after the message.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class InputError(VisionBenchError):
    """The input cannot be used; the person can change it."""


class SetupError(VisionBenchError):
    """Something this machine lacks; `remedy` is the exact step that brings it."""


class OfflineError(SetupError):
    """Weights are not on disk and the model hub cannot be reached."""


class ProviderError(VisionBenchError):
    """A remote service refused, failed or replied with something unreadable."""
