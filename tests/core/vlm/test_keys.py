"""Keys: nothing shows one, a wrong field is said, and any text that quotes one is blanked."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError, SetupError
from core.settings import read_settings
from core.vlm.addresses import Addresses
from core.vlm.keys import BLANK, KEY_VARIABLES, Keys

GEMINI = "AIza" + "Sy0123456789_abcdefghijklmnopqrstuv"
OPENAI = "sk-proj-" + "AbCdEfGhIjKlMnOpQrStUvWx-_0123"
TOGETHER = "0123456789abcdef" * 4
VISIBLE = "".join(set(string.printable) - set(string.whitespace) - set("\"'"))


def all_keys() -> Keys:
    return Keys.from_env({"GEMINI_API_KEY": GEMINI, "OPENAI_API_KEY": OPENAI, "TOGETHER_API_KEY": TOGETHER})


def test_the_environment_is_read_in_order_and_stripped() -> None:
    keys = Keys.from_env({"GOOGLE_API_KEY": " second ", "GEMINI_API_KEY": "first\n", "OPENAI_API_KEY": " "})
    assert (keys.get("gemini"), keys.get("openai"), keys.get("nobody")) == ("first", "", "")
    assert Keys.from_env({"GOOGLE_API_KEY": " second "}).get("gemini") == "second"
    assert all(Keys.from_env({name: "word"}).get(p) == "word" for p, v in KEY_VARIABLES.items() for name in v)


def test_a_broken_variable_is_named_and_not_quoted() -> None:
    with pytest.raises(SetupError, match="OPENAI_API_KEY") as caught:
        Keys.from_env({"OPENAI_API_KEY": "sk-secret part"})
    assert "secret" not in str(caught.value)


def test_nothing_shows_a_key() -> None:
    keys = all_keys()
    shown = f"{keys} {keys!r} {keys!s} {(keys,)} {keys:}"
    assert "gemini" in shown
    assert not any(key in shown for key in (GEMINI, OPENAI, TOGETHER))


def test_a_typed_key_replaces_one_and_changes_nobody_else() -> None:
    keys = all_keys()
    typed = keys.with_typed("gemini", f"\n {GEMINI}X\t")
    assert typed.get("gemini") == f"{GEMINI}X"
    assert keys.get("gemini") == GEMINI
    assert typed.get("openai") == OPENAI
    assert typed != keys
    assert keys == all_keys()


@pytest.mark.parametrize(
    "text", ["", "   ", "two words", "sk-a\nb", '"quoted"', "zero\u200bwidth", "ключ", "a\x00b"]
)
def test_what_is_no_key_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Keys().with_typed("openai", text)
    assert not text.strip() or text not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "text", "owner"),
    [
        ("openai", GEMINI, "Gemini"),
        ("together", GEMINI, "Gemini"),
        ("gemini", OPENAI, "OpenAI"),
        ("together", OPENAI, "OpenAI"),
        ("gemini", TOGETHER, "Together"),
        ("openai", "tgp_v1_" + "x" * 43, "Together"),
    ],
)
def test_a_key_in_the_wrong_field_is_told_where_it_belongs(field: str, text: str, owner: str) -> None:
    with pytest.raises(InputError, match=f"looks like a key of {owner}, not") as caught:
        Keys().with_typed(field, text)
    assert f"field of {owner}" in caught.value.remedy
    assert text not in str(caught.value)


def test_any_shape_may_be_a_compatible_servers_key() -> None:
    for text in (GEMINI, OPENAI, TOGETHER, "ollama", "sk-or-v1-0123456789abcdef0123"):
        assert Keys().with_typed("compatible", text).get("compatible") == text


@pytest.mark.parametrize(
    "text",
    [
        "GET https://host/v1/models?key={key}&alt=sse failed",
        "Incorrect API key provided: {key}. Find yours",
        "{{'authorization': 'Bearer {key}'}}",
        "x-goog-api-key={key}",
        "{key}{key}\n{key}",
    ],
)
@pytest.mark.parametrize("key", [GEMINI, OPENAI, TOGETHER, "a+b/c=%d?e"])
def test_a_known_key_is_blanked_wherever_it_stands(text: str, key: str) -> None:
    keys = Keys().with_typed("compatible", key)
    masked = keys.masked(text.format(key=key))
    assert key not in masked
    assert BLANK in masked


@pytest.mark.parametrize(
    "text",
    [
        GEMINI,
        OPENAI,
        "Incorrect API key provided: sk-abcde***********wxyz.",
        "https://host/?key=whatever&x=1",
        "https://host/?api_key=whatever",
        "Authorization: Bearer whatever",
        "http://user:whatever@host/",
        "tgp_v1_whateverwhatever",
    ],
)
def test_a_strangers_key_is_blanked_too(text: str) -> None:
    masked = Keys().masked(text)
    assert "whatever" not in masked and "wxyz" not in masked and GEMINI not in masked and OPENAI not in masked
    assert BLANK in masked


def test_a_key_in_a_url_is_blanked_in_its_escaped_form() -> None:
    keys = Keys().with_typed("compatible", "a+b/c=d&e")
    assert keys.masked("https://host/x/a%2Bb%2Fc%3Dd%26e") == f"https://host/x/{BLANK}"


def test_a_short_key_of_a_local_server_does_not_eat_other_words() -> None:
    keys = Keys().with_typed("compatible", "none")
    assert keys.masked("nonesuch, but none") == f"nonesuch, but {BLANK}"


def test_digests_and_plain_prose_stay() -> None:
    text = f"sha256 {TOGETHER}, task-force, https://host:8765/v1, a key=4 of risk-based desk-work"
    assert Keys().masked(text) == text


@given(st.text(VISIBLE, min_size=8, max_size=80), st.text(max_size=40), st.text(max_size=40))
def test_no_key_survives_masking(key: str, before: str, after: str) -> None:
    keys = Keys().with_typed("compatible", key)
    masked = keys.masked(f"{before}{key}{after}")
    assert key not in masked or key in BLANK


def test_where_each_provider_is_spoken_to() -> None:
    own = Addresses.from_settings(read_settings({}))
    assert [own.base(name) for name in KEY_VARIABLES] == [None] * 4
    ollama = Addresses.from_settings(read_settings({"VISION_BENCH_VLM_URL": "http://localhost:11434/v1"}))
    assert ollama.base("compatible") == "http://localhost:11434/v1"
    assert ollama.base("openai") is None
    test_server = Addresses("http://localhost:11434/v1", "http://127.0.0.1:8765")
    assert {name: test_server.base(name) for name in KEY_VARIABLES} == {
        "gemini": "http://127.0.0.1:8765",
        "openai": "http://127.0.0.1:8765/v1",
        "together": "http://127.0.0.1:8765",
        "compatible": "http://127.0.0.1:8765/v1",
    }
