"""The objects of the demonstration dataset: their outlines, their keypoints, and how they catch the light.

A sketch lives in units of its own length: about 1 long, centered on the origin, x to the right and y down. Left and right are
geometry, never colour: with the jaws pointing away from the viewer, left is what lies left of the axis from the pivot to the
jaws. The mirror image of a sketch with left and right names exchanged is therefore a valid sketch again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike

from centerkp.geometry import apply_to_points, rotation, translation
from centerkp.schema import ObjectClass, Schema

DEMO_SCHEMA = Schema(
    (
        ObjectClass(
            "pliers",
            1,
            ("left_handle", "right_handle", "pivot", "left_jaw", "right_jaw"),
            skeleton=((0, 2), (1, 2), (2, 3), (2, 4)),
            flip_pairs=((0, 1), (3, 4)),
        ),
        ObjectClass("screwdriver", 2, ("tip", "collar", "end"), skeleton=((0, 1), (1, 2))),
        ObjectClass("nut", 3),
    )
)
SUB_BITS = 4  # OpenCV takes polygon corners in 1/16 pixel
LIGHT = np.array([-0.48, -0.58, 0.66], np.float32)  # from the upper left, towards the viewer
STEELS = ((186, 190, 196), (158, 163, 172), (122, 126, 134), (204, 204, 200))
METALS = (*STEELS, (214, 178, 98), (196, 128, 84), (84, 86, 92))
PLASTICS = (
    *((206, 44, 40), (228, 112, 26), (236, 188, 32), (44, 150, 72), (24, 112, 196)),
    *((38, 58, 120), (128, 58, 150), (52, 54, 60), (20, 150, 158)),
)


@dataclass(frozen=True)
class Part:
    """One piece of material: the union of `outlines` without `holes`, each (n, 2); `bevel` is the width of its rounded edge."""

    outlines: tuple[np.ndarray, ...]
    color: np.ndarray
    bevel: float
    gloss: float
    holes: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Sketch:
    """An object before it is placed: parts from the lowest to the topmost, and keypoints (n, 2) in the order of its class."""

    class_id: int
    parts: tuple[Part, ...]
    keypoints_xy: np.ndarray


def sketch_pliers(rng: np.random.Generator) -> Sketch:
    """Shape of the demo's pliers: two crossed levers around a rivet, opened by a random angle; either may lie on top."""
    jaw, reach = rng.uniform(0.27, 0.37), rng.uniform(0.56, 0.64)
    steel, plastic = _tint(rng, STEELS), _tint(rng, PLASTICS)
    inlay = _tint(rng, PLASTICS)
    angle, slim = rng.uniform(7, 17), rng.uniform(0.8, 1.1)
    lower, jaw_tip, grip_end = _sketch_lever(jaw, reach, slim, steel, plastic, inlay)
    upper = [_mirrored_part(part) for part in lower]
    turn = rotation(-angle)
    lower = [_moved_part(part, turn) for part in lower]
    upper = [_moved_part(part, rotation(angle)) for part in upper]
    left_jaw, right_handle = apply_to_points(turn, np.array([jaw_tip, grip_end]))
    mirror = np.array([-1.0, 1.0])
    points = np.array([right_handle * mirror, right_handle, (0.0, 0.0), left_jaw, left_jaw * mirror])
    rivet = [
        Part((circle(0.038),), steel * 0.82, 0.012, 0.5),
        Part((circle(0.02),), steel * 1.08, 0.012, 0.7),
    ]
    sketch = _center_shape(Sketch(0, (*lower, *upper, *rivet), points))
    return mirrored(sketch) if rng.random() < 0.5 else sketch


def _sketch_lever(
    jaw: float, reach: float, slim: float, steel: np.ndarray, plastic: np.ndarray, inlay: np.ndarray
) -> tuple[list[Part], tuple, tuple]:
    """The pliers' lever with the left jaw and the right handle, closed, its pivot on the origin: parts, jaw tip, grip end."""
    teeth_y = np.linspace(-0.1, -jaw, 15)
    inner = np.stack([np.where(np.arange(15) % 2, -0.012, -0.004), teeth_y], 1)
    outer = bezier([(-0.03, -jaw - 0.012), (-0.06 * slim, -0.7 * jaw), (-0.115 * slim, -0.5 * jaw), (-0.078, 0.0)], 14)
    blade = np.concatenate([[(-0.004, -0.06)], inner, outer, [(0.0, 0.02)]])
    spine = bezier([(0.0, 0.0), (0.19, 0.13), (0.11, 0.42), (0.10, reach)], 36)
    neck = ribbon(spine[:16], np.linspace(0.06, 0.03, 16))
    along = np.linspace(0, 1, 27)
    width = slim * (0.034 + 0.008 * np.sin(np.pi * along))
    grip = ribbon(spine[9:], width)
    guard = spine[9] + np.array([(-0.01, -0.04), (0.075, -0.012), (0.062, 0.022), (0.0, 0.05)])
    # The inlay runs along the outside: a piece of a handle alone already tells its side.
    outside = spine[12:34] + np.array([0.5, 0.0]) * width[3:25, None]
    parts = [
        Part((blade, circle(0.078), neck), steel, 0.03, 0.55),
        Part((grip, guard), plastic, 0.03, 0.3),
        Part((ribbon(outside, np.full(22, 0.011)),), inlay, 0.008, 0.15),
    ]
    return parts, (-0.017, -jaw - 0.004), tuple(spine[-1])


def sketch_screwdriver(rng: np.random.Generator) -> Sketch:
    """Shape of the demo's screwdriver: blade, shaft, a collar where it enters the handle, and a coloured end."""
    collar, waist = rng.uniform(0.06, 0.16), rng.uniform(0.052, 0.064)
    steel, plastic, accent = _tint(rng, STEELS), _tint(rng, PLASTICS), _tint(rng, PLASTICS)
    thick = rng.uniform(0.019, 0.024)
    shaft = np.array([(-thick, collar), (-thick, -0.4), (thick, -0.4), (thick, collar)])
    blade = np.array([(-thick, -0.4), (-0.034, -0.44), (-0.022, -0.5), (0.022, -0.5), (0.034, -0.44), (thick, -0.4)])
    ring = np.array([(-0.036, collar - 0.03), (0.036, collar - 0.03), (0.042, collar + 0.02), (-0.042, collar + 0.02)])
    along = np.linspace(collar + 0.015, 0.43, 30)
    share = np.linspace(0, 1, 30)
    width = waist + 0.026 * np.sin(np.pi * np.clip((share - 0.12) / 0.88, 0, 1)) + 0.02 * np.exp(-((share / 0.09) ** 2))
    spine = np.stack([np.zeros(30), along], 1)
    handle = np.concatenate([spine + width[:, None] * (1, 0), (spine - width[:, None] * (1, 0))[::-1]])
    rim = width[-1]
    end = np.array([(-rim, 0.41), (rim, 0.41), (rim, 0.45), (0.6 * rim, 0.5), (-0.6 * rim, 0.5), (-rim, 0.45)])
    grooves = [ribbon(spine[8:27] + (x * waist, 0), np.full(19, 0.0065)) for x in (-0.62, 0.0, 0.62)]
    parts = (
        Part((shaft,), steel, thick, 0.7),
        Part((blade,), steel * 0.92, 0.014, 0.6),
        Part((handle,), plastic, 0.06, 0.45),
        Part(tuple(grooves), plastic * 0.55, 0.006, 0.1),
        Part((end,), accent, 0.03, 0.4),
        Part((ring,), steel * 1.05, 0.036, 0.8),
    )
    return Sketch(1, parts, np.array([(0.0, -0.5), (0.0, collar), (0.0, 0.5)]))


def sketch_nut(rng: np.random.Generator) -> Sketch:
    """Shape of the demo's hexagonal nut; whatever lies below shows through its hole."""
    metal, hole = _tint(rng, METALS), rng.uniform(0.23, 0.28)
    hexagon = circle(0.5, 7)[:6]
    parts = (
        Part((hexagon,), metal * 0.9, 0.07, 0.5, holes=(circle(hole),)),
        Part((circle(0.42, 40),), metal * 1.05, 0.03, 0.5, holes=(circle(hole),)),
        Part((circle(hole + 0.045),), metal * 0.5, 0.03, 0.2, holes=(circle(hole),)),
    )
    return Sketch(2, parts, np.zeros((0, 2)))


SKETCHES: tuple[Callable[[np.random.Generator], Sketch], ...] = (sketch_pliers, sketch_screwdriver, sketch_nut)


def mirrored(sketch: Sketch) -> Sketch:
    """The demo tool's sketch seen in a mirror, left and right names exchanged."""
    own = DEMO_SCHEMA.keypoint_slice(sketch.class_id)
    order = DEMO_SCHEMA.flip_permutation[own] - own.start
    points = sketch.keypoints_xy[order] * (-1, 1)
    return Sketch(sketch.class_id, tuple(_mirrored_part(part) for part in sketch.parts), points)


def render_silhouette(sketch: Sketch, affine: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) bool: the pixels that the sketch of a demo tool covers when placed by `affine`."""
    mask = np.zeros((height, width), np.uint8)
    for part in sketch.parts:
        mask |= _render_part(part, affine, width, height)
    return mask > 127


def paint(canvas: np.ndarray, sketch: Sketch, affine: np.ndarray) -> None:
    """Draws a demo tool's shape into `canvas`, (height, width, 3) uint8, its rounded edges lit from the upper left."""
    for part in sketch.parts:
        corners = apply_to_points(affine, np.concatenate(part.outlines))
        x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - 3, 0)
        x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 4, (canvas.shape[1], canvas.shape[0]))
        if x1 <= x0 or y1 <= y0:
            continue
        moved = affine - np.array([[0, 0, x0], [0, 0, y0]])
        alpha = _render_part(part, moved, x1 - x0, y1 - y0)
        color = _light_part(alpha, part, float(np.sqrt(abs(np.linalg.det(affine[:, :2])))))
        patch = canvas[y0:y1, x0:x1]
        share = alpha[..., None] / np.float32(255)
        patch[:] = np.clip(patch * (1 - share) + color * share, 0, 255).astype(np.uint8)


def cast_shadow(canvas: np.ndarray, mask: np.ndarray, strength: float) -> None:
    """Darkens a demo scene's `canvas` below and right of a shape, softly; `strength` 1 would be black."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    window = np.s_[max(y - 16, 0) : y + h + 24, max(x - 16, 0) : x + w + 24]
    shadow = mask[window].astype(np.float32) * np.float32(strength)
    shadow = cv2.warpAffine(shadow, translation(*(-9 * LIGHT[:2])), shadow.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    canvas[window] = (canvas[window] * (1 - cv2.GaussianBlur(shadow, (0, 0), 4.5)[..., None])).astype(np.uint8)


def _light_part(alpha: np.ndarray, part: Part, scale: float) -> np.ndarray:
    """(h, w, 3) float32: the colour of a tool's part under the light, its edge rounded off over `bevel`."""
    bevel = max(part.bevel * scale, 1.5)
    depth = cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rise = 1 - np.minimum(depth / bevel, 1)
    height = cv2.GaussianBlur(bevel * np.sqrt(np.maximum(1 - rise * rise, 0)), (0, 0), 1.2)
    slope_x, slope_y = cv2.Scharr(height, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(height, cv2.CV_32F, 0, 1) / 32
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = np.maximum((LIGHT[2] - slope_x * LIGHT[0] - slope_y * LIGHT[1]) / length, 0)
    halfway = LIGHT + np.array([0, 0, 1], np.float32)
    halfway = halfway / np.linalg.norm(halfway)
    shine = np.maximum((halfway[2] - slope_x * halfway[0] - slope_y * halfway[1]) / length, 0) ** 24
    lit = (0.38 + 0.92 * facing)[..., None] * part.color.astype(np.float32)
    return (lit + (170 * part.gloss * shine)[..., None]).astype(np.float32)


def _render_part(part: Part, affine: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) uint8: which pixels a part of a tool's shape covers, with smooth edges."""
    mask = np.zeros((height, width), np.uint8)
    for level, outlines in ((255, part.outlines), (0, part.holes)):
        for outline in outlines:
            corners = np.round(apply_to_points(affine, outline) * 2**SUB_BITS).astype(np.int32)
            cv2.fillPoly(mask, [corners], level, cv2.LINE_AA, SUB_BITS)
    return mask


def _tint(rng: np.random.Generator, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """A colour (3,) for a part of a demo tool: a random one of the palette, slightly varied."""
    color = np.array(palette[int(rng.integers(len(palette)))], float)
    return np.clip(color * rng.uniform(0.85, 1.1) + rng.normal(0, 3, 3), 8, 245)


def _moved_part(part: Part, affine: np.ndarray) -> Part:
    """A part of a tool's shape with its outlines and holes moved by an affine."""
    outlines = tuple(apply_to_points(affine, outline) for outline in part.outlines)
    return replace(part, outlines=outlines, holes=tuple(apply_to_points(affine, hole) for hole in part.holes))


def _mirrored_part(part: Part) -> Part:
    """A part of a tool's shape mirrored left to right about the sketch's axis."""
    return _moved_part(part, np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


def _center_shape(sketch: Sketch) -> Sketch:
    """Moves and scales the sketch of a shape so that it is 1 long and centered on the origin."""
    corners = np.concatenate([outline for part in sketch.parts for outline in part.outlines])
    low, high = corners.min(0), corners.max(0)
    scale = 1 / float((high - low).max())
    affine = np.column_stack([np.eye(2) * scale, -scale * (low + high) / 2])
    parts = tuple(replace(_moved_part(part, affine), bevel=part.bevel * scale) for part in sketch.parts)
    return Sketch(sketch.class_id, parts, apply_to_points(affine, sketch.keypoints_xy))


def circle(radius: float, corners: int = 48) -> np.ndarray:
    """Outline (corners, 2) of a circle about the origin, for the shapes of drawn objects; its last corner is its first."""
    angle = np.linspace(0, 2 * np.pi, corners)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def bezier(controls: ArrayLike, count: int) -> np.ndarray:
    """A curve for the outline of a drawn shape: `count` points of the Bezier curve with the given control points."""
    share = np.linspace(0, 1, count)[:, None, None]
    corners = np.array(controls, float)
    points = np.broadcast_to(corners, (count, *corners.shape))
    while points.shape[1] > 1:
        points = points[:, :-1] * (1 - share) + points[:, 1:] * share
    return points[:, 0]


def ribbon(spine: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """Outline of a drawn shape that is a band along `spine` (n, 2), with round ends."""
    along = np.gradient(spine, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * half_widths[:, None]
    turn = np.linspace(0, np.pi, 9)[1:-1, None]
    tail = spine[-1] + across[-1] * np.cos(turn) + along[-1] * half_widths[-1] * np.sin(turn)
    head = spine[0] - across[0] * np.cos(turn) - along[0] * half_widths[0] * np.sin(turn)
    return np.concatenate([spine + across, tail, (spine - across)[::-1], head])
