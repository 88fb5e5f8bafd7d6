"""Who made a model, and which answers give that away."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.vlm.identity import MAKERS, family, names_its_maker


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        ("gemini/gemini-2.5-flash", "Google"),
        ("together/google/gemma-4-31B-it", "Google"),
        ("compatible/gemma3:12b", "Google"),
        ("openai/gpt-4o-mini", "OpenAI"),
        ("openai/o3", "OpenAI"),
        ("openai/chatgpt-4o-latest", "OpenAI"),
        ("openai/computer-use", "OpenAI"),
        ("together/openai/gpt-oss-120b", "OpenAI"),
        ("compatible/claude-sonnet-4", "Anthropic"),
        ("together/meta-llama/Llama-3.2-11B-Vision-Instruct", "Meta"),
        ("compatible/llama3.2-vision", "Meta"),
        ("together/Qwen/Qwen3.5-9B", "Alibaba"),
        ("compatible/qwen2.5vl:7b", "Alibaba"),
        ("together/moonshotai/Kimi-K2.6", "Moonshot"),
        ("together/deepseek-ai/deepseek-vl2", "DeepSeek"),
        ("hf/mistralai/Pixtral-12B-2409", "Mistral"),
        ("compatible/mixtral", "Mistral"),
        ("compatible/grok-2-vision", "xAI"),
        ("hf/microsoft/Phi-3.5-vision-instruct", "Microsoft"),
        ("hf/microsoft/Florence-2-base", "Microsoft"),
        ("hf/HuggingFaceTB/SmolVLM-256M-Instruct", "Hugging Face"),
        ("hf/HuggingFaceM4/Idefics3-8B-Llama3", "Hugging Face"),
        ("hf/openbmb/MiniCPM-Llama3-V-2_5", "OpenBMB"),
        ("compatible/deepseek-r1-distill-qwen-7b", "DeepSeek"),
        ("compatible/llama3-llava-next-8b", "LLaVA"),
        ("compatible/phi3.5-vision", "Microsoft"),
        ("hf/Efficient-Large-Model/NVILA-8B", "NVIDIA"),
        ("hf/Vision-CAIR/MiniGPT-4", "Vision-CAIR"),
        ("hf/facebook/metaclip", "Meta"),
        ("hf/OpenGVLab/InternVL2-2B", "OpenGVLab"),
        ("hf/THUDM/glm-4v-9b", "Zhipu"),
        ("hf/ibm-granite/granite-vision-3.1-2b-preview", "IBM"),
        ("hf/allenai/Molmo-7B-D-0924", "Ai2"),
        ("hf/llava-hf/llava-v1.6-mistral-7b-hf", "LLaVA"),
        ("compatible/llava-llama3", "LLaVA"),
        ("hf/openbmb/MiniCPM-V-2_6", "OpenBMB"),
        ("hf/Salesforce/blip2-opt-2.7b", "Salesforce"),
        ("hf/vikhyatk/moondream2", "Moondream"),
        ("compatible/moondream", "Moondream"),
        ("shipped/captioner-small", "Vision Bench"),
        ("shipped/gpt", "Vision Bench"),
        ("file/models/my-qwen", "Alibaba"),
        ("file//home/me/thing", "thing"),
        ("hf/somebody/thing", "somebody"),
        ("compatible/thing:7b", "thing:7b"),
        ("hf/metalworks/meteor", "metalworks"),
        ("hf/dolphin/dolphin-vision", "dolphin"),
        ("compatible/sophia", "sophia"),
        ("nothing", ""),
        ("", ""),
    ],
)
def test_who_made_a_model(model: str, maker: str) -> None:
    assert family(model) == maker


@pytest.mark.parametrize(
    ("text", "model", "word"),
    [
        ("I am Gemini, a model by Google.", "gemini/gemini-2.5-flash", "gemini"),
        ("As a large language model trained by Google, I", "gemini/gemini-2.5-flash", "google"),
        ("I’m Google's model.", "gemini/gemini-2.5-flash", "google"),
        ("This is Gemini 2.5 speaking", "gemini/gemini-2.5-flash", "gemini"),
        ("gemini-2.5 says so", "gemini/gemini-2.5-flash", "gemini"),
        ("ChatGPT here.", "openai/gpt-4o", "chatgpt"),
        ("I am GPT-4.", "openai/gpt-4o", "gpt"),
        ("Made by OpenAI", "openai/gpt-4o", "openai"),
        ("Ｏｐｅｎ\u200bＡＩ", "openai/gpt-4o", "openai"),
        ("I'm Claude.", "compatible/claude-sonnet-4", "claude"),
        ("My name is Llama.", "compatible/llama3.2-vision", "llama"),
        ("Llama 3.2 thinks it is red", "compatible/llama3.2-vision", "llama"),
        ("I am Qwen, created by Alibaba Cloud.", "together/Qwen/Qwen3.5-9B", "qwen"),
        ("我是Qwen", "together/Qwen/Qwen3.5-9B", "qwen"),
        ("저는 Gemini입니다.", "gemini/gemini-2.5-flash", "gemini"),
        ("我是Claude。", "compatible/claude-sonnet-4", "claude"),
        ("Ich bin Gemini und sehe rot.", "gemini/gemini-2.5-flash", "gemini"),
        ("쌍둥이자리(Gemini)가 보입니다.", "gemini/gemini-2.5-flash", ""),
        ("As SmolVLM I see", "hf/HuggingFaceTB/SmolVLM-256M-Instruct", "smolvlm"),
        ("The constellation Gemini and a Google logo.", "gemini/gemini-2.5-flash", ""),
        ("A llama stands beside a meta sign.", "compatible/llama3.2-vision", ""),
        ("A slab of granite.", "hf/ibm-granite/granite-vision-3.1-2b-preview", ""),
        ("The sea is called mistral.", "compatible/mistral-small", ""),
        ("I am Claude.", "openai/gpt-4o", ""),
        ("I am Gemini.", "hf/somebody/thing", ""),
        ("The letters gptx and xgpt", "openai/gpt-4o", ""),
        ("A red star.", "openai/gpt-4o", ""),
        ("", "openai/gpt-4o", ""),
    ],
)
def test_which_answers_name_their_maker(text: str, model: str, word: str) -> None:
    assert word in names_its_maker(text, model).casefold()
    assert bool(names_its_maker(text, model)) == bool(word)


def test_every_maker_knows_its_own_words() -> None:
    assert len({maker.name for maker in MAKERS}) == len(MAKERS)
    for maker in MAKERS:
        model = f"compatible/{(maker.words or maker.common)[0]}-7b"
        if maker.name != "Vision Bench":
            assert family(model) == maker.name
        for word in (*maker.words, *maker.common):
            model = "shipped/small" if maker.name == "Vision Bench" else model
            assert names_its_maker(f"I am {word.title()}.", model)


@given(st.text(max_size=50), st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_any_text_and_any_name_are_taken(text: str, model: str) -> None:
    assert isinstance(names_its_maker(text, model), str)
    assert isinstance(family(model), str)


@pytest.mark.parametrize("piece", ["i am ", "as a ", "google ", "x", "as a large "])
def test_a_megabyte_is_read_in_bounded_time(piece: str) -> None:
    started = time.process_time()
    names_its_maker(piece * (1_000_000 // len(piece)), "gemini/gemini-2.5-flash")
    assert time.process_time() - started < 1
