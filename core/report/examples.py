"""The newest questions to vision-language models, and what came back, word by word."""

from core.report.document import Exchange, Section, Text
from core.report.facts import Example, Reader, Totals
from core.report.request import SECTIONS, Request
from core.report.words import moment, ms, name, shown

QUESTION, ANSWER = 700, 1_000


def examples_section(reader: Reader, request: Request, totals: Totals) -> Section:
    """Return the section of questions and answers."""
    found = reader.examples()
    if not found:
        nothing = Text("No question was put to a vision-language model.")
        return Section("examples", SECTIONS["examples"], (nothing,))
    head = Text(
        "The newest questions to each model, at most three each. Nothing here was chosen by its score."
    )
    return Section("examples", SECTIONS["examples"], (head, *(_exchange(one, request) for one in found)))


def _exchange(one: Example, request: Request) -> Exchange:
    failed = one.status != "ok"
    took = f", {ms(one.duration_ms)}" if one.duration_ms is not None else ""
    head = f"{name(one.model_id)} · {moment(one.time, request.zone)}{took}"
    answer = "" if one.answer is None else shown(one.answer.decode("utf-8", "replace"), ANSWER)
    if failed:
        said = shown(one.error_message, ANSWER)
        answer = f"{name(one.error_class or one.status)}: {said}" + (f" — {answer}" if answer else "")
    references = one.parameters.get("references")
    true = [shown(str(text), 200) for text in references] if isinstance(references, list) else []
    foot = [f"true: {' | '.join(true[:4])}"] if true else []
    foot += [f"picture {name(one.picture)}"] if one.picture else []
    return Exchange(
        head,
        shown(str(one.parameters.get("prompt", "")), QUESTION),
        answer or "(no text)",
        failed,
        one.thumbnail,
        " · ".join([*foot, f"run {one.run_id}"]),
    )
