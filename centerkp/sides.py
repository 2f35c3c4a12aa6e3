"""Left and right in the names of keypoints: who takes whose place in a mirror."""

import re
from collections.abc import Mapping, Sequence

from centerkp.wording import suggest

# Pairs of keypoint names, for all classes that have both or each class its own; None leaves them to the file and the names.
FlipPairs = Sequence[tuple[str, str]] | Mapping[str, Sequence] | None

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+|\d+")
_MIRROR = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _mirror_words(name: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The words of a sided name in lower case, and the same with left and right exchanged (None when not sided)."""
    words, mirrored, sided = [], [], False
    for word in _WORDS.findall(name):
        low = word.lower()
        joined = re.fullmatch(r"(left|right)(\w+)", low)
        if low in _MIRROR:
            words, mirrored, sided = [*words, low], [*mirrored, _MIRROR[low]], True
        elif joined:  # lefteye
            words = [*words, *joined.groups()]
            mirrored, sided = [*mirrored, _MIRROR[joined[1]], joined[2]], True
        elif re.fullmatch(r"[LR][A-Z]|[A-KM-QS-Z][LR]", word):  # LF, FL: front or hind paws
            side = 0 if word[0] in "LR" else 1
            other = _MIRROR[low[side]]
            words.append(low)
            mirrored.append(other + low[1] if side == 0 else low[0] + other)
            sided = True
        else:
            words.append(low)
            mirrored.append(low)
    return tuple(words), tuple(mirrored) if sided else None


def guess_flip_pairs(keypoints: Sequence[str]) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Left/right partners read from the names of keypoints, and the names that look sided but have no partner.

    Reads left_eye/right_eye, l_eye/r_eye, eye_L/eye_R, eyeLeft/eyeRight, LEye/REye, lefteye/righteye, FL_paw/FR_paw.

    Returns:
        Index pairs (left or right first, in order of appearance), and the unpaired sided names.
    """
    read = [_mirror_words(k) for k in keypoints]
    where = {}
    for index, (words, _) in enumerate(read):
        where.setdefault(words, []).append(index)
    pairs, unpaired = set(), []
    for index, (words, mirrored) in enumerate(read):
        if mirrored is None:
            continue
        partners = where.get(mirrored, [])
        if len(partners) == 1 and len(where[words]) == 1:
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
