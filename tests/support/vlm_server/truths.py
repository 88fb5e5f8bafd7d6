"""The truth of a data set, told to the server: no request holds it."""

from core.vlm.datasets import Items
from tests.support.vlm_server.server import VlmServer


def teach_items(server: VlmServer, items: Items) -> None:
    """Tell it what is right wherever the data set has both a prompt of its own and references.

    The names of objects are one answer together; of other references, which are alternatives, the first is.
    """
    for position in range(len(items)):
        item = items.at(position)
        rgb = item.load().rgb
        for task, references in item.references.items():
            answer = ", ".join(references) if task == "objects" else next(iter(references), "")
            if answer and item.prompt_for(task):
                server.teach(rgb, item.prompt_for(task), answer)
