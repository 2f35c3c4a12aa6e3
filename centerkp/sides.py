"""Left and right in the names of keypoints: who takes whose place in a mirror."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from centerkp.wording import suggest

# Pairs of keypoint names, for all classes that have both or each class its own; None leaves them to the file and the names.
FlipPairs = Sequence[tuple[str, str]] | Mapping[str, Sequence] | None

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")
_SYLLABLES = re.compile("([左右]|왼쪽|오른쪽|왼|오른)")  # written without blanks
# Left and right by language; the first row is sure, words of the others have sides only where the row's other side occurs, too.
_ROWS = (
    ("left l", "right r"),
    ("port larboard", "starboard"),
    ("near nearside", "off offside"),
    ("west", "east"),
    ("links linke linker linkes linken linkse li", "rechts rechte rechter rechtes rechten rechtse re"),
    ("gauche", "droit droite"),
    ("izquierdo izquierda izq", "derecho derecha der"),
    ("sinistro sinistra sx", "destro destra dx"),
    ("esquerdo esquerda esq", "direito direita dir"),
    ("vänster vänstra venstre", "höger högra højre høyre"),
    ("lewy lewa lewe lewo", "prawy prawa prawe prawo"),
    ("levý levá levé levo leva levi lijevo", "pravý pravá pravé pravo desno desna desni"),
    ("левый левая левое лево слева", "правый правая правое право справа"),
    ("sol", "sağ"),
    ("左 hidari zuo", "右 migi you"),
    ("왼 왼쪽", "오른 오른쪽"),
)  # fmt: skip
_JOINED = 4  # letters of a side that may be written in one with another word


def _fold(text: str) -> str:
    """A name as its sides are looked for: without accents, and with Chinese and Korean sides as words of their own."""
    text = text.translate(str.maketrans("øØ", "oO"))  # no accents to Unicode
    letters = unicodedata.normalize("NFKD", _SYLLABLES.sub(r" \1 ", unicodedata.normalize("NFC", text)))
    return unicodedata.normalize("NFC", "".join(letter for letter in letters if not unicodedata.combining(letter)))


_SIDES = {
    _fold(word).strip().lower(): (row, number == 0)
    for row, sides in enumerate(_ROWS)
    for number, words in enumerate(sides)
    for word in words.split()
}  # word -> (row, whether it is left)
_OTHERS = {word: [w for w, one in _SIDES.items() if one == (row, not left)] for word, (row, left) in _SIDES.items()}
_LONG = sorted((word for word in _SIDES if len(word) >= _JOINED), key=len, reverse=True)


def _read_word(word: str, known: Collection[str]) -> tuple[tuple, bool] | None:
    """What is left of a name's word without its side, and whether that is left; None where the word has no side.

    Args:
        known: the words of all names in small letters. A word that may mean something else has a side only beside its partner.
    """
    low = word.lower()
    if low in _SIDES:
        row, is_left = _SIDES[low]
        other = any(o == w or (len(o) >= _JOINED and o in w) for o in _OTHERS[low] for w in known)
        return ((row, "", ""), is_left) if other or row == 0 else None
    for place in (1, 0) if re.fullmatch("[a-z]{2}", low) else ():  # tl, br, FL, LF: corners, front or hind paws
        rest, side = low[:place] + "-" + low[place + 1 :], low[place]
        if rest.replace("-", {"l": "r", "r": "l"}.get(side, "-")) in known:
            return (rest,), side == "l"
    if re.fullmatch(r"[LR][A-Z]|[A-KM-QS-Z][LR]", word):
        place = 0 if word[0] in "LR" else 1
        return (low[:place] + "-" + low[place + 1 :],), low[place] == "l"
    for side in _LONG:  # lefteye, upperleft
        before, found, after = low.partition(side)
        if found and (not before or not after):
            is_sure = side in ("left", "right") and not before
            if is_sure or any(before + other + after in known for other in _OTHERS[side]):
                return (_SIDES[side][0], before, after), _SIDES[side][1]
    return None


def read_sides(keypoints: Sequence[str]) -> list[tuple[tuple, tuple[bool, ...]]]:
    """The sides in the names of one class's keypoints: for each the name without them, and of each whether it is left."""
    names = [_WORDS.findall(_fold(name)) for name in keypoints]
    known = {word.lower() for words in names for word in words}
    read = []
    for words in names:
        sides = [_read_word(word, known) for word in words]
        rest = tuple(side[0] if side else word.lower() for side, word in zip(sides, words, strict=True))
        read.append((rest, tuple(side[1] for side in sides if side)))
    return read


def guess_flip_pairs(keypoints: Sequence[str]) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Left/right partners read from the names of keypoints, and the names that look sided but have no partner.

    Reads left_eye/right_eye, l_eye/r_eye, eye_L/eye_R, eyeLeft/eyeRight, LEye/REye, lefteye/righteye, FL_paw/FR_paw, tl/tr,
    upperleft/upperright, near/off, port/starboard, and left and right in the languages of `_ROWS`.

    Returns:
        Index pairs (left or right first, in order of appearance), and the unpaired sided names.
    """
    read = read_sides(keypoints)
    where: dict[tuple, list[int]] = {}
    for index, name in enumerate(read):
        where.setdefault(name, []).append(index)
    pairs, unpaired = set(), []
    for index, (rest, sides) in enumerate(read):
        if not sides:
            continue
        partners = where.get((rest, tuple(not side for side in sides)), [])
        if len(partners) == 1 and len(where[rest, sides]) == 1:
            pairs.add((min(index, partners[0]), max(index, partners[0])))
        else:
            unpaired.append(keypoints[index])
    return tuple(sorted(pairs)), tuple(unpaired)


def check_flip_pairs(override: FlipPairs, categories: Sequence[Mapping]) -> None:
    """Checks flip pairs that a user names: each pair must fit a class; ValueError else, before left is taught as right."""
    if isinstance(override, Mapping):
        classes = [str(c["name"]) for c in categories]
        for name in override:
            if name not in classes:
                raise ValueError(f"flip_pairs: found class '{name}', expected some of {classes}{suggest(name, classes)}.")
        return
    keypoints = [[str(k) for k in c.get("keypoints") or ()] for c in categories]
    known = [k for names in keypoints for k in names]
    for pair in override or ():
        if not any(set(pair) <= set(names) for names in keypoints):
            hint = next((suggest(name, known) for name in pair if name not in known), "")
            raise ValueError(f"flip_pairs: found {':'.join(pair)}, expected two keypoints of one class, of {known}{hint}.")


def choose_flip_pairs(
    name: str, keypoints: tuple[str, ...], category: Mapping, override: FlipPairs
) -> tuple[tuple[tuple[int, int], ...], str]:
    """A category's left/right pairs as numbers of its keypoints, and where they come from (`flip_source`)."""
    given, source = category.get("flip_pairs"), "json"
    if isinstance(override, Mapping):
        given, source = (override[name], "flag") if name in override else (given, source)
    elif override is not None:
        own = [pair for pair in override if set(pair) <= set(keypoints)]
        given, source = (own, "flag") if own or not override else (given, source)
    if given is not None:
        unknown = [k for pair in given for k in pair if k not in keypoints]
        if unknown:
            raise ValueError(
                f"category '{name}': flip_pairs name {unknown}, which its keypoints {list(keypoints)} do not contain; "
                "give pairs of its own keypoint names."
            )
        return tuple((keypoints.index(a), keypoints.index(b)) for a, b in given), source if keypoints else "none"
    pairs, unpaired = guess_flip_pairs(keypoints)
    if unpaired:
        return (), "unpaired"
    return pairs, "names" if pairs else "none"
