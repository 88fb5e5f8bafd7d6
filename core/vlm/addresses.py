"""Where each remote provider is spoken to: at its own address, at the operator's, or at the test server."""

from dataclasses import dataclass

from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the operator configured; a visitor cannot change it."""

    compatible: str = ""
    """Base address of an OpenAI-compatible server, with its `/v1`; empty where there is none."""
    loopback: str = ""
    """Origin of the loopback test server; where it is set, every remote provider is spoken to there."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Addresses":
        """Return the addresses of `VISION_BENCH_VLM_URL` and `VISION_BENCH_LOOPBACK_URL`."""
        return cls(settings.vlm_url, settings.loopback_url)

    def base(self, provider: str) -> str | None:
        """Return the base address that the provider's SDK is given; None leaves the SDK its own.

        openai's SDK wants `/v1` in it, google-genai's and together's add their version themselves.
        """
        if self.loopback:
            return f"{self.loopback}/v1" if provider in ("openai", "compatible") else self.loopback
        return (self.compatible or None) if provider == "compatible" else None
