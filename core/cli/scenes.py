"""`scenes`: pictures with exact ground truth, as files."""

import json
from pathlib import Path
from typing import Annotated

import typer

from core.cli.shared import Answer, JsonOption, new_file, writing
from core.scenes import Scene, generate_scene


def write_scenes(
    out: Annotated[Path, typer.Option(help="Folder for the files; made where it is missing.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many scenes.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene; each next one adds 1.")] = 0,
    as_json: JsonOption = False,
) -> Answer:
    """Draw scenes with their exact truth: NNNN.png, NNNN.json and a mask per object."""
    new_file(out / "0000.png")
    written = [_write(generate_scene(seed + index), out, f"{index:04d}") for index in range(n)]
    payload = {"out": str(out), "count": n, "seed": seed, "scenes": written}
    return Answer(payload, f"{n} scenes, seeds {seed} to {seed + n - 1}, in {out}")


def _write(scene: Scene, folder: Path, stem: str) -> dict[str, object]:
    files = {f"{stem}.png": scene.png()}
    files |= {f"{stem}_mask{index}.png": scene.mask_png(index) for index in range(len(scene.objects))}
    files[f"{stem}.json"] = json.dumps(scene.to_dict(stem), indent=2).encode() + b"\n"
    for name, data in files.items():
        with writing(folder / name):
            (folder / name).write_bytes(data)
    return {"seed": scene.seed, "picture": f"{stem}.png", "truth": f"{stem}.json"}
