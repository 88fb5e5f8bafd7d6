"""The router: it opens the page that is asked for, and draws what all pages share."""

import streamlit as st

from pages.ui import state
from pages.ui.router import app_pages
from pages.ui.sidebar import machine_status

st.set_page_config(page_title="Vision Bench", page_icon=":material/visibility:", layout="wide")
state.ROUTED.set(True)
page = st.navigation(app_pages())
try:
    page.run()
finally:  # after the page, which may have loaded a model, and also when the page stopped early
    machine_status()
