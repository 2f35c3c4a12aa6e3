"""README and docs/: links lead somewhere, commands and flags exist, numbers are those of benchmarks/."""

import re

import cv2
import numpy as np
import pytest
from doc_pages import (
    LINKED_PAGES,
    PAGES,
    ROOT,
    name_of,
    own_words,
    read_anchors,
    read_code,
    read_commands,
    read_links,
    read_prose,
)

from centerkp.cli.commands import build_parser

# Flags that stand in sentences and are those of the programs that measure.
FOREIGN = {
    flag for path in ROOT.glob("benchmarks/*.py") for flag in re.findall(r'"(--[a-z-]+)"', path.read_text(encoding="utf-8"))
}
SETTINGS = {"0.05", "0.99", "0.9997"}  # numbers with two digits and more that nobody measured


@pytest.fixture(scope="module")
def parser():
    return build_parser()


def commands_of(parser):
    (action,) = [action for action in parser._actions if isinstance(action.choices, dict)]
    return action.choices


@pytest.mark.parametrize("page", LINKED_PAGES, ids=name_of)
def test_links_lead_to_what_is_there(page):
    for link in read_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), f"{name_of(page)}: {link}"
        assert not anchor or anchor in read_anchors(target), f"{name_of(page)}: {link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_ones_that_there_are(page, parser):
    for command in read_commands(page):
        words = own_words(command)
        if words is None:
            assert not re.search(r"\b(centerkp [a-z]|train\.py|infer\.py)", command), f"{name_of(page)}: {command}"
            continue
        try:
            options, unknown = parser.parse_known_args(words)
        except SystemExit as done:  # code 0: an argument that answers by itself
            assert done.code == 0, f"{name_of(page)}: {command}"
            continue
        assert not unknown, f"{name_of(page)}: {command}: {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_flags_in_sentences_are_ones_that_there_are(page, parser):
    children = commands_of(parser)
    everything = {flag for child in children.values() for flag in child._option_string_actions} | FOREIGN | {"--version"}
    for code in read_code(page):
        try:
            words = own_words(code)
        except ValueError:  # an apostrophe: no command
            words = None
        flags = {word.partition("=")[0] for word in code.split() if re.fullmatch(r"--[a-z][\w-]*(=.*)?", word)}
        if words and words[0] in children:
            known = set(children[words[0]]._option_string_actions)
        elif words and re.fullmatch("[a-z-]+", words[0]):
            pytest.fail(f"{name_of(page)}: `{code}`: there is no command {words[0]}")
        elif code.startswith("--"):
            known = everything
        else:
            continue
        assert flags <= known, f"{name_of(page)}: `{code}`: {flags - known}"


def test_a_wrong_flag_is_seen(parser):
    with pytest.raises(SystemExit):
        parser.parse_args(own_words("python train.py --coco a.json --epochs many"))
    assert parser.parse_known_args(own_words("KERAS_BACKEND=jax centerkp train --coco a.json --epoch 3"))[1] == ["--epoch", "3"]
    assert own_words("pip install -e .") is None


def test_programs_that_pages_name_are_there():
    for page in PAGES:
        for code in [*read_code(page), *read_commands(page)]:
            for name in re.findall(r"\b((?:docs|benchmarks)/\w+\.py)\b", code):
                assert (ROOT / name).is_file(), f"{name_of(page)}: {name}"


def test_numbers_and_flags_are_those_of_their_source(monkeypatch, capsys):
    """After a change in benchmarks/ or of a flag, `make claims` writes them anew."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import claims

    assert claims.main(["--check"]) == 0, f"{capsys.readouterr().out}; run make claims"
    assert claims.fill("<!-- claim: light-fp32 -->9<!-- /claim -->") != "<!-- claim: light-fp32 -->9<!-- /claim -->"
    with pytest.raises(ValueError, match="no such claim"):
        claims.fill("<!-- claim: best-of-all -->1<!-- /claim -->")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_score_is_typed(page):
    """Measured shares stand between the marks of docs/claims.py; a setting may stand anywhere."""
    text = re.sub(r"<!-- claim: .*?<!-- /claim -->|`[^`\n]*`", "", read_prose(page), flags=re.DOTALL)
    typed = [number for number in re.findall(r"(?<![\d.])0\.\d{2,}(?![\d.])", text) if number not in SETTINGS]
    assert not typed, f"{name_of(page)}: {typed}"


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_pictures_are_those_that_the_code_draws(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import pictures

    for name, drawn in pictures.draw_all().items():
        stored = cv2.imread(str(pictures.FOLDER / f"{name}.jpg"))[..., ::-1]
        assert stored.shape == drawn.shape
        assert np.abs(stored.astype(int) - drawn).mean() < 6, f"{name}: run python docs/pictures.py"


def test_curves_are_those_of_the_measurements(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import curves

    stored, drawn = cv2.imread(str(curves.PATH))[..., ::-1], curves.draw()
    assert stored.shape == drawn.shape
    assert np.abs(stored.astype(int) - drawn).mean() < 2, "run python docs/curves.py"
