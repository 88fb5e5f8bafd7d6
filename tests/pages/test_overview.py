"""The overview, and what every page owes to a visitor who just opened the app."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages.conftest import HOME, Visit

LIGHT = """
import sys
from streamlit.testing.v1 import AppTest
session = AppTest.from_file({home!r}, default_timeout=120)
session.switch_page("pages/{page}.py").run()
assert not session.exception, session.exception
print(sorted({{"torch", "timm", "transformers"}} & set(sys.modules)))
"""


def test_it_says_what_this_machine_can_run(visit: Visit) -> None:
    session = visit("overview")
    assert not session.exception
    text = " ".join(element.value for element in session.markdown)
    for heading in ("Models run on", "Memory", "API keys", "Results", "Pictures"):
        assert heading in text
    rows = [line for line in session.markdown[-1].value.splitlines() if line.startswith("| ")]
    ready = {plain_id(row): ":material/check_circle:" in row.split(" | ")[1] for row in rows[1:]}
    assert ready["shipped/vit-scenes"] and ready["random/vit_tiny_patch16_224"]
    assert not ready["timm/vit_small_patch16_224.dino"]


def plain_id(row: str) -> str:
    """Return the id in the last cell of a row, without Markdown's backslashes."""
    return row.rstrip(" |").rpartition("| ")[2].replace("\\", "")


def test_latest_runs_appear(visit: Visit) -> None:
    assert "Nothing has run yet" in visit("overview").info[0].value
    visit("attention_maps")
    session = visit("overview")
    assert not session.info
    assert any("shipped/vit\\-scenes" in element.value for element in session.markdown)


@pytest.mark.parametrize("page", ["overview", "history", "model_recommender"])
def test_opening_the_page_imports_no_model_library(page: str) -> None:
    script = LIGHT.format(home=HOME, page=page)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(HOME).parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
