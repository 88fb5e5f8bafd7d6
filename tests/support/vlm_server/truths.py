"""The truth of a data set, told to the server: no request holds it."""

from core.vlm.datasets import Items
from core.vlm.tasks import TASKS
from tests.support.vlm_server.server import VlmServer


def teach_items(server: VlmServer, items: Items) -> None:
    """Tell it what is right for each task, to the item's own prompt or to the task's.

    The names of objects are one answer together; of other references, which are alternatives, the first is.
    """
    for position in range(len(items)):
        item = items.at(position)
        rgb = item.load().rgb
        for task in TASKS.values():
            references = item.references_for(task.name)
            answer = ", ".join(references) if task.name == "objects" else next(iter(references), "")
            prompt = item.prompt_for(task.name) or task.prompt
            if answer and prompt:
                server.teach(rgb, prompt, answer)
