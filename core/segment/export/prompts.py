"""What was pointed at, as a file."""

import re

from core.segment.export.shared import (
    MAX_PROMPTS_MB,
    PromptSheet,
    check_count,
    json_bytes,
    json_name,
    json_value,
    reading,
)
from core.segment.prompts import Prompts


def prompts_json(sheet: PromptSheet) -> bytes:
    """Return what was pointed at as a JSON file. Objects without points and box are left out."""
    return json_bytes(
        {
            "sha256": sheet.sha256,
            "width": sheet.width,
            "height": sheet.height,
            "model_id": sheet.model_id,
            "objects": [
                {"name": name, "prompts": prompts.to_json()}
                for name, prompts in sheet.objects
                if prompts.points or prompts.box
            ],
        }
    )


def read_prompts_json(data: bytes) -> PromptSheet:
    """Return what `prompts_json` wrote.

    Raises:
        InputError: It is none, too large, or asks what cannot be asked of a picture of its size.
    """
    with reading(data, "prompts", MAX_PROMPTS_MB):
        raw = json_value(data)
        width, height, sha256 = raw["width"], raw["height"], raw["sha256"]
        if type(width) is not int or type(height) is not int or width < 1 or height < 1:
            raise ValueError("no size of a picture")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError("no digest")
        check_count(len(raw["objects"]))
        objects = tuple(
            (json_name(item["name"]), Prompts.from_json(item["prompts"]).checked(width, height))
            for item in raw["objects"]
        )
        return PromptSheet(sha256, width, height, json_name(raw["model_id"]), objects)
