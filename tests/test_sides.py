"""Sides in names: how people write left and right, in which languages, and what only looks so."""

import pytest

from centerkp.sides import guess_flip_pairs

LANGUAGES = [
    ("right", "left"), ("links", "rechts"), ("linkes", "rechtes"), ("gauche", "droite"), ("gauche", "droit"),
    ("izquierda", "derecha"), ("izquierdo", "derecho"), ("sinistra", "destra"), ("sinistro", "destro"),
    ("esquerda", "direita"), ("vänster", "höger"), ("venstre", "højre"), ("lewe", "prawe"), ("levý", "pravý"),
    ("lijevo", "desno"), ("левый", "правый"), ("starboard", "port"), ("nearside", "offside"), ("west", "east"),
]  # fmt: skip
NAMINGS = {
    "snake": lambda side, what: f"{what}_{side}",
    "in front": lambda side, what: f"{side} {what}",
    "camel": lambda side, what: f"{what}{side.title()}",
    "capitals": lambda side, what: f"{side}-{what}".upper(),
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("sides", LANGUAGES, ids="/".join)
def test_languages(sides, naming):
    names = [NAMINGS[naming](side, what) for what in ("eye", "knee") for side in sides]
    assert guess_flip_pairs((names[0], "tail", names[2], names[1], names[3])) == (((0, 3), (2, 4)), ())


@pytest.mark.parametrize("sides", [side for side in LANGUAGES if min(map(len, side)) >= 5], ids="/".join)
def test_joined_words(sides):
    assert guess_flip_pairs([side + "auge" for side in sides]) == guess_flip_pairs(["ober" + side for side in sides])
    assert guess_flip_pairs([side + "auge" for side in sides]) == (((0, 1),), ())


@pytest.mark.parametrize(
    "names, pairs",
    [
        ("tl tr br bl", ((0, 1), (2, 3))),
        ("UL UR LL LR", ((0, 1), (2, 3))),
        ("lf lr rf rr", ((0, 2), (1, 3))),
        ("fl fr rl rr", ((0, 1), (2, 3))),
        ("upperleft upperright lowerright lowerleft", ((0, 1), (2, 3))),
        ("near_front off_front off_rear near_rear", ((0, 1), (2, 3))),
        ("ojo_izq ojo_der", ((0, 1),)),
        ("occhio_sx occhio_dx", ((0, 1),)),
        ("左目 右目", ((0, 1),)),
        ("왼쪽눈 오른쪽눈", ((0, 1),)),
        ("left_port right_port", ((0, 1),)),
    ],
)
def test_corners_and_short_words(names, pairs):
    assert guess_flip_pairs(names.split()) == (pairs, ())


@pytest.mark.parametrize("names", ["bright upright", "port usb_port", "links", "sol", "near far", "head tail", "1 2 3 4"])
def test_words_that_only_look_sided(names):
    assert guess_flip_pairs(names.split()) == ((), ())


def test_sides_without_their_partner():
    """Both sides occur, so that it is no accident, but nobody can tell who swaps with whom."""
    assert guess_flip_pairs(("paw1_izq", "paw4_der", "nose")) == ((), ("paw1_izq", "paw4_der"))
