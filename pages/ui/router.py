"""The pages of the app, in the order of the navigation."""

import streamlit as st


def app_pages() -> dict[str, list[st.Page]]:
    """Return the finished pages by section."""
    return {
        "Vision Bench": [
            st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
        ],
        "Look inside": [
            st.Page("pages/attention_maps.py", title="Attention maps", icon=":material/center_focus_strong:"),
            st.Page("pages/patch_similarity.py", title="Patch similarity", icon=":material/compare:"),
            st.Page("pages/segment_anything.py", title="Segment anything", icon=":material/ads_click:"),
        ],
        "Compare": [
            st.Page("pages/vlm_head_to_head.py", title="VLM head to head", icon=":material/forum:"),
            st.Page("pages/model_benchmark.py", title="Model benchmark", icon=":material/speed:"),
        ],
        "Decide": [
            st.Page("pages/model_recommender.py", title="Model recommender", icon=":material/recommend:"),
            st.Page("pages/history.py", title="History", icon=":material/history:"),
            st.Page("pages/report.py", title="Report", icon=":material/summarize:"),
        ],
    }
