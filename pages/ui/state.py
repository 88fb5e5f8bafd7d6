"""Every session key, once, with its type. Widgets keep their own values by `persist_state="session"`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray

    from core.errors import InputError
    from core.features.pca import PcaBasis
    from core.features.workflow import SimilarResult
    from core.images import ImageInput
    from core.vlm.base import LiveModel
    from core.vlm.keys import Keys
    from core.vlm.setrun.estimate import Estimate
    from core.vlm.workflow import Providers
    from db.records import RunRecord
    from pages.ui.attention_run import Shown
    from pages.ui.attention_view import View
    from pages.ui.bench_read import Bench
    from pages.ui.bench_sweep_read import Swept
    from pages.ui.history_export import Job
    from pages.ui.history_view import HistoryView
    from pages.ui.recommend_page import Held
    from pages.ui.recommend_view import RecommendView
    from pages.ui.report_view import Made
    from pages.ui.segment_compare import Replayed
    from pages.ui.segment_evaluate import Evaluated
    from pages.ui.segment_everything import Found
    from pages.ui.segment_state import Work
    from pages.ui.similarity_matches import Lines
    from pages.ui.similarity_scores import Measured
    from pages.ui.similarity_search import Searched
    from pages.ui.similarity_state import Asked, Pair
    from pages.ui.vlm_set_data import Given
    from pages.ui.vlm_set_read import Read
    from pages.ui.vlm_state import Comparison

T = TypeVar("T")


@dataclass(frozen=True)
class Slot(Generic[T]):
    """One typed place in the session."""

    key: str

    def get(self) -> T | None:
        """Return what is there, or None."""
        return cast("T | None", st.session_state.get(self.key))

    def set(self, value: T) -> T:
        """Put `value` there and return it."""
        st.session_state[self.key] = value
        return value

    def clear(self) -> None:
        """Empty the place."""
        st.session_state.pop(self.key, None)


ROUTED: Slot[bool] = Slot("routed")
"""Set by `Home.py`: this session's pages are the router's."""

VISITOR: Slot[str] = Slot("visitor")
"""Random id of a visitor of a public deployment."""

UPLOADED: Slot[ImageInput] = Slot("uploaded_picture")
"""The last picture uploaded in this session."""

UPLOADED_SECOND: Slot[ImageInput] = Slot("uploaded_second_picture")
"""The last picture uploaded where a page takes a second one."""

PHOTOGRAPHED: Slot[ImageInput] = Slot("camera_picture")
"""The last picture taken with the camera in this session."""

REOPENED_PICTURE: Slot[ImageInput] = Slot("reopened_picture")
"""The picture of a run that was opened again."""

REOPENED_SECOND: Slot[ImageInput] = Slot("reopened_second_picture")
"""The second picture of a run that was opened again."""

ATTENTION: Slot[Shown] = Slot("attention_result")
"""The last attention result, with what it was made from."""

SEGMENT_WORK: Slot[Work] = Slot("segment_work")
"""What is being segmented in this session."""

SEGMENT_AGAIN: Slot[RunRecord] = Slot("segment_again")
"""A stored run that the tools of the segmentation page are to show again."""

SEGMENT_START: Slot[tuple[str, float, float]] = Slot("segment_start")
"""A point handed over by another page: digest of its picture, x and y in its pixels."""

SEGMENT_TRUTH: Slot[tuple[str, NDArray[np.bool_]]] = Slot("segment_truth")
"""A truth mask that was uploaded, and the digest of the picture it is for."""

EVERYTHING: Slot[Found] = Slot("segment_everything")
"""The last result of segmenting everything."""

EVALUATED: Slot[Evaluated] = Slot("segment_evaluated")
"""The last evaluation of a segmenter."""

REPLAYED: Slot[Replayed] = Slot("segment_replayed")
"""The last replay of prompts on another model."""

SIMILARITY: Slot[Pair] = Slot("compared_pair")
"""The two pictures that are compared in this session."""

SIMILARITY_ASKED: Slot[Asked] = Slot("compared_asked")
"""What is asked of them."""

SIMILARITY_LINES: Slot[Lines] = Slot("compared_lines")
"""The pairs of places that are drawn as lines."""

SIMILARITY_START: Slot[tuple[str, bytes]] = Slot("compared_start")
"""A mask handed over as a query by another page: digest of its picture, and the mask as a PNG file."""

SIMILARITY_DONE: Slot[tuple[SimilarResult, dict[Hashable, object]]] = Slot("compared_done")
"""What the tools computed for a comparison, by what they were asked."""

SIMILARITY_BASIS: Slot[PcaBasis] = Slot("compared_basis")
"""Components that the person keeps for other pictures."""

SIMILARITY_FOUND: Slot[Searched] = Slot("compared_found")
"""The last search."""

SIMILARITY_SCORES: Slot[Measured] = Slot("compared_scores")
"""The last measurement of matches."""

SIMILARITY_AGAIN: Slot[RunRecord] = Slot("compared_again")
"""A stored run that a tool of the similarity page is to show again."""

SIMILARITY_WHOLE: Slot[bool] = Slot("compared_whole")
"""Set where a tool changed the page's pictures: the whole page must run again."""

SIMILARITY_VIEW: Slot[tuple[str, Asked]] = Slot("compared_view")
"""The run and query that the store was last told of."""

VLM_KEYS: Slot[Keys] = Slot("vlm_typed_keys")
"""Keys typed in for this session, with those of the environment. Nowhere else, and never shown."""

VLM_TYPED: Slot[frozenset[str]] = Slot("vlm_typed_providers")
"""The providers whose key was typed in."""

VLM_REFUSED_KEY: Slot[tuple[str, InputError]] = Slot("vlm_refused_key")
"""The provider whose key could not be used, and why; the message does not quote it."""

VLM_PROVIDERS: Slot[Providers] = Slot("vlm_providers")
"""The providers opened with this session's keys."""

VLM_LISTED: Slot[dict[str, tuple[LiveModel, ...]]] = Slot("vlm_listed")
"""What providers said they offer, by provider."""

VLM_COMPARISON: Slot[Comparison] = Slot("vlm_comparison")
"""The question that was last put to models, and their answers."""

VLM_SET: Slot[str] = Slot("vlm_set")
"""Id of the data-set run that is shown; none while a new one is planned."""

VLM_SET_GIVEN: Slot[Given] = Slot("vlm_set_given")
"""The data set that was uploaded, or read from a folder, last."""

VLM_SET_EXPECTED: Slot[tuple[str, Estimate]] = Slot("vlm_set_expected")
"""What the planned run will take, and the plan that it was worked out for."""

VLM_SET_READ: Slot[Read] = Slot("vlm_set_read")
"""The results that are shown."""

VLM_START: Slot[str] = Slot("vlm_start")
"""Digest of a picture handed over by another page, to be asked about at once."""

BENCH_COMPARED: Slot[tuple[str, str]] = Slot("bench_compared")
"""Digest of a picture, and the benchmark that is shown for it."""

BENCH: Slot[str] = Slot("bench")
"""Id of the benchmark that is shown; none while a new one is planned."""

BENCH_SWEEP: Slot[str] = Slot("bench_sweep")
"""Id of the sweep that is shown; none while a new one is planned."""

BENCH_READ: Slot[dict[str, Bench]] = Slot("bench_read")
"""The benchmarks that were read from the store last, by their id."""

BENCH_SWEPT: Slot[Swept] = Slot("bench_swept")
"""The results of a sweep that are shown."""

BENCH_ADDRESS: Slot[str] = Slot("bench_address")
"""What of the address the page of benchmarks has already acted on."""

BENCH_UPLOADS: Slot[tuple[ImageInput, ...]] = Slot("bench_uploads")
"""Pictures that were uploaded for a benchmark."""

BENCH_ZIPS: Slot[dict[str, tuple[ImageInput, ...]]] = Slot("bench_zips")
"""Digest of each zip among the uploads of the benchmark page to the pictures in it."""

BENCH_LABELLED: Slot[tuple[str, str]] = Slot("bench_labelled")
"""Name and path of the labelled pictures that were uploaded last."""

HISTORY_VIEW: Slot[HistoryView] = Slot("history_view")
"""The view of the history that was shown last."""

HISTORY_EXPORT: Slot[Job] = Slot("history_export")
"""The export that is being written, or that is ready."""

RECOMMEND_VIEW: Slot[RecommendView] = Slot("recommend_view_shown")
"""The view of the recommender that was shown last."""

RECOMMEND_HELD: Slot[Held] = Slot("recommend_held")
"""What is known to this visitor, and the last answer made of it."""

RECOMMEND_RUN: Slot[str] = Slot("recommend_run")
"""The saved recommendation in the address that the page has already acted on."""

RECOMMEND_SAVED: Slot[tuple[str, str]] = Slot("recommend_saved")
"""What was asked for when a recommendation was saved last, and its run."""

RECOMMEND_BENCH: Slot[str] = Slot("recommend_bench")
"""The benchmark that the recommender began last."""

REPORT: Slot[Made] = Slot("report_made")
"""The last report that was made, and what it was asked for."""

KEPT_VIEW: Slot[tuple[str, View]] = Slot("kept_view")
"""The run and view that the store was last told of."""

ADDRESS_RUN: Slot[str] = Slot("address_run")
"""The run id in the address that the page has already acted on."""
