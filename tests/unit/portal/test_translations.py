"""Every word of every page has its Indonesian; no word of the catalogue is left over."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from models.reason import REASONS


def messages() -> list[tuple[str, Message]]:
    """Every message of every catalogue, as its English text and itself."""
    found = []
    for part in (resources.files("portal") / "locale" / "id").iterdir():
        with part.open("rb") as file:
            found += [message for message in read_po(file, locale="id") if message.id]
    return [(message.id if isinstance(message.id, str) else message.id[0], message) for message in found]


@pytest.fixture(scope="module")
def catalog() -> dict[str, Message]:
    return dict(messages())


def test_no_text_stands_in_two_catalogues() -> None:
    texts = [text for text, _ in messages()]
    assert sorted({text for text in texts if texts.count(text) > 1}) == []


@pytest.fixture(scope="module")
def said() -> set[str]:
    found = extract_from_dir(
        Path(str(resources.files("portal"))),
        method_map=[("templates/**.html", "jinja2"), ("**.py", "python")],
        options_map={"templates/**.html": {"trimmed": "true"}},
    )
    texts = {text if isinstance(text, str) else text[0] for _, _, text, _, _ in found}
    assert len(texts) > 30, "the templates were not found"
    return texts | set(REASONS.values())


def test_everything_said_is_said_in_indonesian(catalog: dict[str, Message], said: set[str]) -> None:
    missing = [text for text in sorted(said) if text not in catalog or not catalog[text].string]
    assert missing == []


def test_nothing_is_translated_that_nobody_says(catalog: dict[str, Message], said: set[str]) -> None:
    assert sorted(set(catalog) - said) == []


def test_a_translation_keeps_the_placeholders(catalog: dict[str, Message]) -> None:
    for text, message in catalog.items():
        strings = message.string if isinstance(message.string, (list, tuple)) else [message.string]
        for string in strings:
            assert set(re.findall(r"%\(\w+\)s", str(string))) == set(re.findall(r"%\(\w+\)s", text)), text
