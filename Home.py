"""The router: which pages there are, in which order, and what all of them share."""

import streamlit as st

from pages.ui.sidebar import machine_status

st.set_page_config(page_title="Vision Bench", page_icon=":material/visibility:", layout="wide")

page = st.navigation(
    {
        "Vision Bench": [
            st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
        ],
        "Look inside": [
            st.Page("pages/attention_maps.py", title="Attention maps", icon=":material/center_focus_strong:"),
        ],
        "Decide": [
            st.Page("pages/history.py", title="History", icon=":material/history:"),
        ],
    }
)
machine_status()
page.run()
