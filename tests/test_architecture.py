"""Who imports whom: the table of rooms, kept."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "torchvision", "timm", "transformers")
TASK_PAGES = tuple(f"pages.{path.stem}" for path in sorted((ROOT / "pages").glob("*.py")))

NEVER = {
    "Home.py": (*HEAVY, "sqlalchemy", "db", "core", *TASK_PAGES),
    "pages/*.py": (*HEAVY, "sqlalchemy", *TASK_PAGES),
    "pages/ui/*.py": (*HEAVY, "sqlalchemy", *TASK_PAGES),
    "core/**/*.py": ("streamlit", "sqlalchemy", "pages", "db"),
    "core/nn/*.py": ("plotly", "core.vlm"),
    "core/training/*.py": ("plotly", "core.vlm"),
    "db/**/*.py": (*HEAVY, "streamlit", "core", "pages"),
}
"""Files to what they never import, anywhere in the file."""

MAY_LATER = {"core/cli/": ("db",)}
"""Folders to what they may import all the same, inside a function or for type checkers."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each module that a file imports, and whether importing the file leaves it alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {id(node) for part in ast.walk(tree) if is_deferred(part) for node in ast.walk(part)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", id(node) in later) for alias in node.names)


def is_deferred(node: ast.AST) -> bool:
    """Say whether the code in `node` does not run on import."""
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def is_of(module: str, package: str) -> bool:
    """Say whether a dotted name is `package` or something in it."""
    return f"{module}.".startswith(f"{package}.")


@pytest.mark.parametrize("pattern", NEVER)
def test_forbidden_imports(pattern: str) -> None:
    files = sorted(ROOT.glob(pattern))
    assert files
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        later = next((allowed for folder, allowed in MAY_LATER.items() if name.startswith(folder)), ())
        for module, is_later in imports(path):
            broken = [package for package in NEVER[pattern] if is_of(module, package)]
            assert not broken or (is_later and broken[0] in later), f"{name} imports {module}"


def test_the_check_sees_hidden_imports(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text("import db.store\n\ndef later():\n    if True:\n        from torch import nn\n")
    assert list(imports(path)) == [("db.store", False), ("torch.nn", True)]
    assert is_of("torch.nn", "torch")
    assert not is_of("torchlight", "torch")
