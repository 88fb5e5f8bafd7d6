"""Keys of remote providers: held so that nothing shows one, and blanked in any text that quotes one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from core.errors import InputError, SetupError

KEY_VARIABLES: dict[str, tuple[str, ...]] = {
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "compatible": ("VISION_BENCH_VLM_KEY",),
}
"""Provider to the environment variables that may hold its key; the first one set counts."""
TITLES = {"gemini": "Gemini", "openai": "OpenAI", "together": "Together", "compatible": "OpenAI-compatible"}
"""What people call a provider."""
BLANK = "[key]"
"""What stands where a key was."""

_TEXT = re.compile(r"[!#-&(-~]+")
"""Visible ASCII without quotation marks: what can stand in a header, and what keys are made of."""
_SHAPES = {
    "gemini": re.compile(r"AIza[\w-]{30,}|AQ\.[\w-]{20,}", re.ASCII),
    "openai": re.compile(r"sk-(?!ant-|or-)[\w-]{16,}", re.ASCII),
    "together": re.compile(r"tgp_v1_[\w-]{16,}|[0-9a-f]{64}", re.ASCII),
}
"""How a provider's keys look. A compatible server's key may look like any of them."""
_LEAKS = re.compile(
    r"AIza[\w*.-]{8,}[\w*-]"
    r"|\bAQ\.[\w*-]{8,}"
    r"|\bsk-[\w*.-]{5,}[\w*-]"
    r"|\btgp_v1_[\w*.-]{4,}[\w*-]"
    r"|(?<=\bbearer )\s*[^\s\"',;<>]+"
    r"|(?<=[?&]key=)[^\s&\"'<>#]+"
    r"|(?<=\bapi[_-]key=)[^\s&\"'<>#]+"
    r"|(?<=\baccess_token=)[^\s&\"'<>#]+"
    r"|(?<=://)[^\s/@:\"'<>]*:[^\s/@\"'<>]+(?=@)",
    re.ASCII | re.IGNORECASE,
)
"""What looks like a key, also one that its provider has shortened with stars or dots."""
_SHORT = 8
"""Keys with fewer characters (local servers take any word) are blanked as whole words only."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that one session or process asks with. Its text shows whose keys it holds, and no key."""

    _held: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """(provider, key), by provider."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Keys":
        """Return the keys that an environment holds; `KEY_VARIABLES` has the names.

        Raises:
            SetupError: A value cannot be a key; the message names the variable only.
        """
        held: dict[str, str] = {}
        for provider, names in KEY_VARIABLES.items():
            for name in names:
                key = env.get(name, "").strip()
                if key and not _TEXT.fullmatch(key):
                    raise SetupError(
                        f"{name} holds characters that no key has.", f"Set {name} to the key alone."
                    )
                if key:
                    held.setdefault(provider, key)
        return cls(tuple(sorted(held.items())))

    def get(self, provider: str) -> str:
        """Return the provider's key, or an empty text. The only way to one: for its SDK, and nothing else."""
        return dict(self._held).get(provider, "")

    def with_typed(self, provider: str, text: str) -> "Keys":
        """Return these keys with the one that a person typed or pasted for `provider`.

        Raises:
            InputError: It is empty, holds what no key holds, or looks like another provider's key.
                The message does not quote it.
        """
        key = text.strip()
        title = TITLES[provider]
        if not key:
            raise InputError(f"The key of {title} is empty.", "Paste the whole key.")
        if not _TEXT.fullmatch(key):
            raise InputError(
                f"The key of {title} holds a space, a quotation mark or another character that no key has.",
                "Copy the key alone and paste it again.",
            )
        if (owner := _owner(key)) and provider not in (owner, "compatible"):
            raise InputError(
                f"This looks like a key of {TITLES[owner]}, not of {title}.",
                f"Paste it into the field of {TITLES[owner]}.",
            )
        return Keys(tuple(sorted((dict(self._held) | {provider: key}).items())))

    def masked(self, text: str) -> str:
        """Return `text` with `BLANK` where it holds one of these keys, or what looks like a key of anyone."""
        for _, key in sorted(self._held, key=lambda pair: -len(pair[1])):
            for form in {key, quote(key, safe="")}:
                pattern = re.escape(form)
                text = re.sub(pattern if len(form) >= _SHORT else rf"(?<!\w){pattern}(?!\w)", BLANK, text)
        return _LEAKS.sub(BLANK, text)

    def __repr__(self) -> str:
        return f"Keys({', '.join(provider for provider, _ in self._held)})"


def _owner(key: str) -> str:
    return next((provider for provider, shape in _SHAPES.items() if shape.fullmatch(key)), "")
