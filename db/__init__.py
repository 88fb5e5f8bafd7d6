"""The result store. It knows no Streamlit, no torch and no `core`."""

from db.errors import StoreError
from db.records import RunFilter, RunRecord, RunSummary
from db.store import Store

__all__ = ["RunFilter", "RunRecord", "RunSummary", "Store", "StoreError"]
