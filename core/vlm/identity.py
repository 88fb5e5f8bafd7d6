"""Who made a model, and whether an answer gives that away."""

import re
from typing import NamedTuple

from core.vlm.scoring.reading import tidy


class Maker(NamedTuple):
    """A maker of models and the words it is known by."""

    name: str
    model: str
    """Pattern of its models' names."""
    words: tuple[str, ...]
    """Words that mean it or its models, whatever a picture shows."""
    common: tuple[str, ...] = ()
    """Words that also mean something else: they count beside a version, or where a model speaks of itself."""


MAKERS = (
    Maker("Google", r"gemini|gemma|google", ("gemma", "deepmind"), ("gemini", "google", "bard")),
    Maker("OpenAI", r"openai|\bgpt|chatgpt|\bo[1-9]\b", ("openai", "chatgpt", "gpt")),
    Maker("Anthropic", r"claude|anthropic", ("anthropic",), ("claude",)),
    Maker("Meta", r"llama|\bmeta\b|facebook", ("llama-vision",), ("llama", "meta", "facebook")),
    Maker("Alibaba", r"qwen|qwq|qvq", ("qwen", "tongyi"), ("alibaba",)),
    Maker("Moonshot", r"kimi|moonshot", ("moonshotai",), ("kimi", "moonshot")),
    Maker("DeepSeek", r"deepseek|janus", ("deepseek",)),
    Maker("Mistral", r"mi[sx]tral|pixtral|ministral", ("pixtral", "mixtral", "ministral"), ("mistral",)),
    Maker("xAI", r"grok|\bxai\b", ("xai",), ("grok",)),
    Maker("Microsoft", r"\bphi\d*\b|microsoft|florence", (), ("microsoft", "phi", "florence")),
    Maker("Hugging Face", r"smolvlm|idefics|huggingface", ("smolvlm", "idefics", "huggingface")),
    Maker("OpenGVLab", r"internvl|opengvlab", ("internvl", "opengvlab")),
    Maker("Zhipu", r"\bglm|cogvlm|zhipu|zai-org", ("cogvlm", "zhipu", "chatglm"), ("glm",)),
    Maker("IBM", r"granite|\bibm\b", (), ("granite", "ibm")),
    Maker("Ai2", r"molmo|allenai", ("molmo", "allenai")),
    Maker("LLaVA", r"llava", ("llava",)),
    Maker("OpenBMB", r"minicpm|openbmb", ("minicpm", "openbmb")),
    Maker("NVIDIA", r"nemotron|nvidia|\bn?vila", ("nemotron",), ("nvidia",)),
    Maker("Salesforce", r"blip|salesforce", (), ("blip", "salesforce")),
    Maker("Moondream", r"moondream|vikhyat", ("moondream",)),
    Maker("Vision Bench", r"^shipped/", ("vision bench",)),
)
"""Whose pattern a model's name holds first made it, but LLaVA, whose models may begin with other names."""

_SELF = (
    r"(?:\b(?:i am|i['’]m|my name is|call me|this is|as an? (?:\w+ ){0,3}|ich bin|je suis|soy|eu sou|"
    r"(?:trained|developed|created|made|built|powered) by)\b|我是|我叫|저는|私は|أنا )"
)


def family(model_id: str) -> str:
    """Return who made a model, by its name; where the name is unknown, its organisation or the name itself.

    Args:
        model_id: PROVIDER/ID, PROVIDER/ORG/ID or file/PATH.
    """
    maker = _maker(model_id)
    if maker is not None:
        return maker.name
    provider, _, rest = model_id.partition("/")
    return rest.rpartition("/")[2] if provider == "file" else rest.partition("/")[0]


def _maker(model_id: str) -> Maker | None:
    provider, _, rest = model_id.casefold().partition("/")
    name = rest.rpartition("/")[2]
    if provider == "shipped":
        return MAKERS[-1]
    # A model's own name tells more than who offers it.
    for part in (name.replace("_", "-"), rest, provider):
        found = sorted((at.start(), maker) for maker in MAKERS if (at := re.search(maker.model, part)))
        if found:
            return next((maker for _, maker in found if maker.name == "LLaVA"), found[0][1])
    return None


def names_its_maker(text: str, model_id: str) -> str:
    """Return the word by which an answer gives away who made it, or ''.

    A word that also means something else (a llama, granite) counts only before a version number, or in a
    sentence in which the model speaks of itself.
    """
    maker = _maker(model_id)
    if maker is None:
        return ""
    said = tidy(text).casefold()
    for word in maker.words:
        if found := re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", said):
            return found[0]
    for word in maker.common:
        spoken = rf"(?<![a-z\d_]){re.escape(word)}(?![a-z\d_])"
        of_itself = rf"{_SELF}[^.!?\n]{{0,60}}{spoken}"
        if re.search(of_itself, said) or re.search(rf"{spoken}[\s-]*v?\d", said):
            return word
    return ""
