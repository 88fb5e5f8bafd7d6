"""How large a data set may be."""

from core.images import Limits
from core.settings import settings

MAX_TABLE_MB = 100.0
"""Of a table, in MB (10^6 bytes)."""
MAX_FILES = 200_000
"""Most files in a zip or folder, those that are no pictures included."""
MAX_FIELD = 100_000
"""Most characters of one cell."""


def picture_limits() -> Limits:
    """Return the largest picture that is accepted here."""
    return Limits(settings().max_upload_mb, settings().max_megapixels)
