"""Opening the app or asking the command line for help must not wait for the heavy libraries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "timm", "transformers"}
LIGHT = (
    "core.settings",
    "core.runs",
    "core.images",
    "core.samples",
    "core.scenes",
    "core.registry",
    "core.features.values",
    "core.features.cache",
    "core.cli",
    "db",
    *sorted(f"core.charts.{path.stem}" for path in (ROOT / "core" / "charts").glob("*.py")),
    *sorted(f"core.recommend.{path.stem}" for path in (ROOT / "core" / "recommend").glob("*.py")),
)


def test_light_modules_load_no_heavy_library() -> None:
    """One fresh process imports one after the other, so the first that breaks the rule is named."""
    script = (
        f"import importlib, sys\nfor name in {LIGHT!r}:\n    importlib.import_module(name)\n"
        f"    heavy = sorted({HEAVY!r} & sys.modules.keys())\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
