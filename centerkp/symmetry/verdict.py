"""The verdict on the sides of keypoints: what their places say of the flip pairs that names and files gave, or did not give.

Names can lie and places alone cannot tell left and right from an object that always faces one way. Therefore pairs swap by
their places only where names say which keypoints are left and right; where only places show sides, images are not mirrored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote

import numpy as np

from centerkp.schema import ObjectClass, Schema
from centerkp.sides import guess_flip_pairs, read_sides
from centerkp.symmetry.evidence import weigh_excess, weigh_orders
from centerkp.symmetry.pairing import Pairing, find_pairing
from centerkp.symmetry.shapes import Shapes, excess, list_orders, make_shapes
from centerkp.wording import count_of

SAMPLE = 80  # objects of a class that are looked at
LEAST = 10  # objects; with fewer, chance alone makes all alike too often
CHANCE = 0.0025  # of calling keypoints sided that are not, in each of four tests
DOUBT = 0.1  # a chance between the two says nothing: images are not mirrored
ODD = 0.1  # at most so many objects may be the mirror image of the others; more, and both occur
FIT = 0.25  # of what speaks against the present pairs, and of how unlike objects are: what a pairing may leave unexplained


@dataclass(frozen=True)
class SideNote:
    """What is said about the sides of one class: `count` keypoints, what about them, and what decides otherwise."""

    count: int
    text: str
    remedy: str
    names: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The verdict on the sides of a class in one sentence, with its remedy."""
        return f"{count_of(self.count, 'keypoint')}: {self.text}; {self.remedy}"


def settle_sides(schema: Schema, labels: Mapping[str, np.ndarray]) -> tuple[Schema, list[SideNote]]:
    """The schema with each class's flip pairs as names and places together prove them, and what is to be said about them.

    Pairs of the JSON and of the user stay as they are. At most `SAMPLE` objects of a class are looked at, spread over the file.

    Args:
        labels: arrays of N objects: `class_ids` (N,), `keypoints_xy` (N, K, 2), `visibility` (N, K), `is_crowd` (N,).
    """
    kinds, notes = [], []
    # The flag speaks of all classes at once.
    is_alone = sum(len(kind.keypoints) > 1 for kind in schema.classes) == 1
    nothing = "--flip-pairs none" if is_alone else '"flip_pairs": [] in its category'
    for class_id, kind in enumerate(schema.classes):
        own = schema.keypoint_slice(class_id)
        rows = np.flatnonzero((labels["class_ids"] == class_id) & ~labels["is_crowd"])
        labelled = labels["visibility"][rows, own] > 0
        many = labelled.sum(1) > 1
        rows, labelled = rows[many], labelled[many]
        some = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(int)
        kind, note = _judge_class(kind, labels["keypoints_xy"][rows[some], own], labelled[some], nothing)
        kinds.append(kind)
        notes += [note] if note else []
    return Schema(tuple(kinds)), notes


def _judge_class(
    kind: ObjectClass, points_xy: np.ndarray, labelled: np.ndarray, nothing: str
) -> tuple[ObjectClass, SideNote | None]:
    """The verdict on one class, from its objects' points (N, k, 2) and which of them are labelled (N, k).

    `nothing` is how the user says that nothing swaps.
    """
    told = kind.flip_source in ("json", "flag")
    if len(kind.keypoints) < 2 or (told and not kind.flip_pairs):  # whoever says that nothing swaps knows why
        return kind, None
    views = _compare_with_mirror(kind, points_xy, labelled)
    pairing = next((view.pairing for view in views if view.pairing), None)
    ask = _ask_for_pairs(kind, pairing, nothing)
    if pairing:
        pairs = "the pairs that fit their mirror images are " + _name_pairs(kind, pairing)
        if told:
            return kind, _note(kind, f"other flip pairs than places show ('{kind.name}')", f"{pairs}; see which are right")
        if _names_agree(kind, pairing):
            text = f"left and right by their names, paired by their places ('{kind.name}': {_name_pairs(kind, pairing)})"
            remedy = "they swap in mirrored images; --flip-pairs names other pairs, --no-flip mirrors none"
            return replace(kind, flip_pairs=pairing.pairs, flip_source="places"), _note(kind, text, remedy)
        if kind.flip_source == "names":
            text = f"paired otherwise by their places than by their names ('{kind.name}'), so images are not mirrored"
            return _unmirrored(kind, "sided"), _note(kind, text, f"{pairs}: {ask}")
    if kind.flip_source == "unpaired":
        lone = guess_flip_pairs(kind.keypoints)[1]
        text = f"a side in the name and no partner ('{kind.name}'), so images are not mirrored"
        return kind, _note(kind, text, ask, lone)
    if kind.flip_source != "none" or not len(points_xy):
        return kind, None
    if pairing or any(view.is_sided for view in views):
        seen = _describe_order(kind, points_xy, labelled, pairing) or "in a mirror they make a shape that does not occur"
        text = f"a side by their places ('{kind.name}': {seen}), so images are not mirrored"
        return _unmirrored(kind, "sided"), _note(kind, text, ask)
    if any(view.is_doubtful for view in views):
        few = count_of(len(points_xy), "object")
        text = f"no side in the name, and {few} cannot show one ('{kind.name}'), so images are not mirrored"
        return _unmirrored(kind, "few"), _note(kind, text, ask)
    return kind, None


@dataclass(frozen=True)
class _View:
    """What shapes of one class, turned or not, show of their sides; `pairing` is one that explains the mirror images."""

    is_sided: bool
    is_doubtful: bool
    pairing: Pairing | None = None


def _compare_with_mirror(kind: ObjectClass, points_xy: np.ndarray, labelled: np.ndarray) -> list[_View]:
    """What the objects of a class show of its sides: compared as they lie in the images first, then whatever way turned."""
    present = np.arange(len(kind.keypoints))
    for a, b in kind.flip_pairs:
        present[[a, b]] = b, a
    views = []
    for turned in (False, True)[: len(present) - 1]:  # of two points nothing is left to compare when they may be turned
        shapes = make_shapes(points_xy, labelled, turned)
        usable = labelled.sum(1) >= shapes.least_points
        shapes = Shapes(shapes.points[usable], shapes.labelled[usable], turned)
        if len(shapes.points) < LEAST:
            views.append(_View(is_sided=False, is_doubtful=True))
            continue
        against = excess(shapes, present)
        tests = [weigh_excess(against), *([] if kind.flip_pairs else [weigh_orders(list_orders(shapes))])]
        is_known = any(view.pairing for view in views)
        is_unlike = min(test.chance for test in tests) <= CHANCE
        pairing = _explain(shapes, present, against) if is_unlike and not is_known else None
        chance = min((test.chance for test in tests if test.minority <= ODD), default=1)
        views.append(_View(chance <= CHANCE, chance <= DOUBT, pairing))
    return views


def _explain(shapes: Shapes, present: np.ndarray, against: np.ndarray) -> Pairing | None:
    """The pairing that explains the mirror images of shapes, None where none does, or the present one does as well."""
    pairing = find_pairing(shapes, [present, np.arange(len(present))])
    left, apart = pairing.excess.mean(), shapes.distances.mean()
    fits = left <= FIT * against.mean() and left <= FIT * apart
    others = set(np.flatnonzero(pairing.order != present).tolist()) - set(pairing.unsure)
    return pairing if fits and others and len(pairing.unsure) <= len(present) // 2 else None


def _names_agree(kind: ObjectClass, pairing: Pairing) -> bool:
    """Whether names say of some pairs which is left and which is right, and no name says otherwise."""
    sides = [side[0] if side else None for _, side in read_sides(kind.keypoints)]
    paired = {k for pair in pairing.pairs for k in pair}
    fit = all({sides[a], sides[b]} in ({True, False}, {None}) for a, b in pairing.pairs)
    all_paired = {k for k, side in enumerate(sides) if side is not None} <= paired
    known = any(sides[k] is not None for k in paired)
    return fit and all_paired and known and not pairing.unsure and set(kind.flip_pairs) <= set(pairing.pairs)


def _unmirrored(kind: ObjectClass, source: str) -> ObjectClass:
    """The class as the verdict leaves it where its images are not mirrored: without flip pairs, from a source that says so."""
    return replace(kind, flip_pairs=(), flip_source=source)


def _note(kind: ObjectClass, text: str, remedy: str, names: Sequence[str] = ()) -> SideNote:
    """A verdict on so many keypoints as are named, or all of the class."""
    return SideNote(len(names) or len(kind.keypoints), text, remedy, tuple(names))


def _name_pairs(kind: ObjectClass, pairing: Pairing) -> str:
    """A pairing as --flip-pairs takes it."""
    return ",".join(f"{kind.keypoints[a]}:{kind.keypoints[b]}" for a, b in pairing.pairs)


def _ask_for_pairs(kind: ObjectClass, pairing: Pairing | None, nothing: str) -> str:
    """What the user may say to have images mirrored, with the pairs that places propose."""
    pairs = quote(_name_pairs(kind, pairing)) if pairing and pairing.pairs else "LEFT:RIGHT,..."
    doubt = f" (not sure: {', '.join(kind.keypoints[k] for k in pairing.unsure)})" if pairing and pairing.unsure else ""
    return f"where left and right swap, --flip-pairs {pairs}{doubt}; where nothing swaps, {nothing}"


def _describe_order(kind: ObjectClass, points_xy: np.ndarray, labelled: np.ndarray, pairing: Pairing | None) -> str:
    """The clearest order of two keypoints from left to right that shows their sides, of partners where a pairing is known.

    Empty where no two have the same order in nearly all objects.
    """
    x = np.where(labelled, points_xy[..., 0], np.nan)
    gaps = x[:, None] - x[:, :, None]  # [:, a, b] is how far b lies right of a
    both, right = np.isfinite(gaps).sum(0), (gaps > 0).sum(0)
    share = np.where(both >= LEAST, right / np.maximum(both, 1), 0)
    if pairing:
        share *= pairing.order[:, None] == np.arange(len(share))
    a, b = np.unravel_index(np.lexsort((np.nan_to_num(gaps).sum(0).ravel(), share.ravel()))[-1], share.shape)
    if share[a, b] < 1 - ODD:
        return ""
    objects = count_of(int(both[a, b]), "object")
    return f"'{kind.keypoints[a]}' lies left of '{kind.keypoints[b]}' in {right[a, b]} of {objects}"
