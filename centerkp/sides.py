"""Left and right in the names of keypoints: who takes whose place in a mirror."""

import re
from collections.abc import Sequence

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+|\d+")
_MIRROR = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _mirror_words(name: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """A name's words in lower case, and the same words with the side exchanged (None when nothing looks sided)."""
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
    """Left/right partners read from the names, and the names that look sided but have no partner.

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
