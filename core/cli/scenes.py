"""`scenes`: pictures with exact ground truth, as files."""

import json
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from core.checkpoints import write_atomically
from core.cli.shared import Answer, JsonOption, new_file, writing
from core.errors import InputError
from core.scenes import Scene, SceneOptions, generate_scene

DEFAULT = SceneOptions()


def write_scenes(
    out: Annotated[Path, typer.Option(help="A new or empty folder; made where it is missing.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many scenes.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene; each next one adds 1.")] = 0,
    width: Annotated[int, typer.Option(help="Pixels.")] = DEFAULT.width,
    height: Annotated[int, typer.Option(help="Pixels.")] = DEFAULT.height,
    as_json: JsonOption = False,
) -> Answer:
    """Draw scenes with their exact truth: NNNN.png, NNNN.json and a mask per object."""
    options = SceneOptions(width=width, height=height)
    new_file(out / "0000.png")
    if any(out.iterdir()):
        raise InputError(f"{out} holds files already.", "Name a new or empty folder with --out.")
    written = [
        _write(generate_scene(seed + index, options), out, f"{index:04d}")
        for index in tqdm(range(n), unit="scene", disable=None)  # None: only on a terminal
    ]
    payload = {"out": str(out), "count": n, "seed": seed, "scenes": written}
    return Answer(payload, f"{n} scenes, seeds {seed} to {seed + n - 1}, in {out}")


def _write(scene: Scene, folder: Path, stem: str) -> dict[str, object]:
    """Write a scene's files; the truth comes last, so where it is, the others are."""
    files = {f"{stem}.png": scene.png()}
    files |= {f"{stem}_mask{index}.png": scene.mask_png(index) for index in range(len(scene.objects))}
    files[f"{stem}.json"] = json.dumps(scene.to_dict(stem), indent=2).encode() + b"\n"
    for name, data in files.items():
        with writing(folder / name):
            write_atomically(folder / name, data)
    return {"seed": scene.seed, "picture": f"{stem}.png", "truth": f"{stem}.json"}
