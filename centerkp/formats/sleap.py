"""SLEAP: labels in an .slp file, read by sleap-io; frames of videos are written as pictures first."""

import shlex
from collections.abc import Collection
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np

from centerkp.console import import_extra
from centerkp.formats.gathering import NAMELESS, Gathering, LabelFault, reading
from centerkp.formats.hdf5 import check_hdf5
from centerkp.writing import WriteGuard, replacing

KIND = "SLEAP file"
_Classes = dict[tuple[str, frozenset[str]], str]  # the class of skeletons by their name and nodes


def read_sleap(path: Path, gathering: Gathering, frames_dir: Path | None = None, overwrite: bool = False) -> None:
    """Reads the labels of a SLEAP file that were set by hand; predictions are left out.

    Args:
        frames_dir: where the labelled frames of videos are written as PNG; without it labels of videos are refused.
        overwrite: frames take the place of other pictures of their names there.

    Raises:
        LabelFault: the labels are of videos, or it is no SLEAP file.
        FileExistsError: there is another picture of a frame's name, and `overwrite` is False.
        FileNotFoundError: sleap-io is needed, and not there; or a video is missing.
    """
    sleap = import_extra("sleap_io", "sleap")
    with reading(path, KIND, "save it again with SLEAP"):
        check_hdf5(path, "import sleap_io; sleap_io.load_slp(sys.argv[1], open_videos=False)")
        try:
            labels = sleap.load_slp(str(path), open_videos=frames_dir is not None)
        except OSError as error:  # of HDF5, whatever is damaged in it
            raise ValueError(error) from None
        classes: _Classes = {}
        stems: dict[int, str] = {}
        for skeleton in labels.skeletons:
            _name_class(skeleton, classes, gathering)
        for frame in labels.labeled_frames:
            gathering.note("object", "predicted by SLEAP, left out", len(frame.instances) - len(frame.user_instances))
            if frame.user_instances:
                image_id = gathering.add_image(_find_image(path, frame, frames_dir, stems, overwrite))
                for instance in frame.user_instances:
                    places = np.asarray(instance.numpy(), float)
                    seen = {
                        name: (float(x), float(y), 2)
                        for name, (x, y) in zip(instance.skeleton.node_names, places, strict=True)
                        if np.isfinite((x, y)).all()
                    }
                    gathering.add_object(image_id, _name_class(instance.skeleton, classes, gathering), None, seen)


def _name_class(skeleton: Any, classes: _Classes, gathering: Gathering) -> str:
    """The class of SLEAP's objects: their skeleton's name, unless that is only a number; with other nodes it is another one."""
    name = str(skeleton.name or "")
    name = NAMELESS if not name or name.lower().startswith("skeleton") else name
    key = name, frozenset(skeleton.node_names)
    if key not in classes:
        classes[key] = _number(name, "-", classes.values())
        gathering.note("skeleton", "its nodes are others than those of one with its name, numbered", classes[key] != name)
        edges = [[int(end) + 1 for end in pair] for pair in skeleton.edge_inds]
        gathering.add_class(classes[key], skeleton.node_names, skeleton=edges)
    return classes[key]


def _number(name: str, joint: str, taken: Collection[str]) -> str:
    """A name that is not taken, in whatever case: SLEAP's own, or else that with the first number from 2 on."""
    folded = {one.lower() for one in taken}
    names = chain([name], (f"{name}{joint}{number}" for number in count(2)))
    return next(one for one in names if one.lower() not in folded)


def _find_image(path: Path, frame: Any, frames_dir: Path | None, stems: dict[int, str], overwrite: bool) -> str:
    """The picture of a frame that SLEAP's labels are about: of a series its file, of a video one that is written here.

    Videos of different folders may have one name, and those that are embedded have all that of the file: `stems` keeps the
    name that the pictures of each begin with.
    """
    video = frame.video.filename
    if isinstance(video, list | tuple):
        return str(video[frame.frame_idx])
    if frames_dir is None:
        raise LabelFault(
            f"{path}: found labels on frames of videos such as {video}, expected pictures; write the frames and a COCO JSON "
            f"with: centerkp import {shlex.quote(str(path))} {shlex.quote(f'{path.stem}.json')}"
        )
    if id(frame.video) not in stems:
        stems[id(frame.video)] = _number(PurePath(str(video).replace("\\", "/")).stem, "_", stems.values())
    picture = frames_dir / f"{stems[id(frame.video)]}_{frame.frame_idx:06d}.png"
    try:
        pixels = np.asarray(frame.image)
    except OSError as error:
        raise LabelFault(f"{path}: found no video to read the frames from ({error}), expected it there; put it back.") from None
    coded = cv2.imencode(".png", pixels[..., ::-1] if pixels.shape[-1] == 3 else pixels)[1].tobytes()
    # Those of an earlier import may be other labels' pictures: videos often have one name.
    WriteGuard([path], overwrite).check([picture], lambda found: found.read_bytes() == coded)
    with replacing(picture) as part:
        part.write_bytes(coded)
    return str(picture.resolve())
