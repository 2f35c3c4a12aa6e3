"""Which tool wrote a file or folder of labels, by its content, and what stands in it as a COCO dataset."""

from pathlib import Path
from typing import Any

from centerkp.formats.cvat import read_cvat
from centerkp.formats.deeplabcut import find_tables, read_deeplabcut
from centerkp.formats.gathering import Gathering, LabelFault
from centerkp.formats.label_studio import is_label_studio, read_label_studio
from centerkp.formats.labelme import find_labelme, is_labelme, read_labelme
from centerkp.formats.sleap import read_sleap
from centerkp.formats.via import COLUMNS, is_via, read_via, read_via_csv
from centerkp.formats.yolo import read_yolo
from centerkp.formats.yolo_images import is_label_file, is_yolo

Content = tuple[dict, list[str], list[Path]]  # a COCO dataset, unchecked, notes, and the files that hold the labels


def read_folder(folder: Path, images_dir: Path | None = None) -> Content | None:
    """Reads a folder of labels as labelme, YOLO, DeepLabCut or CVAT leave it; None where it is none of them."""
    files: list[Path]
    if tables := find_tables(folder):
        gathering = Gathering("DeepLabCut project" if (folder / "config.yaml").is_file() else "DeepLabCut folder")
        files = read_deeplabcut(tables, gathering)
    elif config := next((path for path in sorted(folder.glob("*.y*ml")) if is_yolo(path)), None):
        gathering = Gathering("YOLO dataset")
        files = read_yolo(config, gathering, images_dir)
    elif files := find_labelme(folder):
        gathering = Gathering("labelme folder")
        read_labelme(files, folder, gathering)
    elif (folder / "annotations.xml").is_file():
        gathering, files = Gathering("CVAT export"), [folder / "annotations.xml"]
        read_cvat(files[0], gathering)
    elif any(is_label_file(path) for path in sorted(folder.rglob("*.txt")) if path.stat().st_size):
        gathering = Gathering("folder of YOLO labels")
        files = read_yolo(folder, gathering, images_dir)
    else:
        return None
    return *gathering.content(folder), files


def read_file(
    path: Path, images_dir: Path | None = None, frames_dir: Path | None = None, overwrite: bool = False
) -> Content | None:
    """Reads a file of labels as CVAT, DeepLabCut, SLEAP, VIA (CSV) or YOLO leave it; None where it is none of them.

    Args:
        images_dir: the images, for tools whose coordinates are shares of their sides.
        frames_dir, overwrite: as `read_sleap` takes them.
    """
    with open(path, "rb") as file:
        start = file.read(1 << 14)
    text = start.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    gathering, files = Gathering(""), [path]
    if text.startswith("<") and "<annotations>" in text:
        gathering.kind = "CVAT file"
        read_cvat(path, gathering)
    elif text.startswith("scorer,"):
        gathering.kind = "DeepLabCut table"
        files = read_deeplabcut([path], gathering)
    elif COLUMNS <= {cell.strip('"#') for cell in text.partition("\n")[0].strip().split(",")}:
        gathering.kind = "VIA table"
        read_via_csv(path, gathering)
    elif start.startswith(b"\x89HDF"):
        is_sleap = _is_sleap(path)
        gathering.kind = "SLEAP file" if is_sleap else "DeepLabCut table"
        if is_sleap:
            read_sleap(path, gathering, frames_dir, overwrite)
        else:
            files = read_deeplabcut([path], gathering)
    elif path.name == "config.yaml" and (tables := find_tables(path.parent)):
        gathering.kind = "DeepLabCut project"
        files = read_deeplabcut(tables, gathering)
    elif path.suffix.lower() in (".yaml", ".yml") and is_yolo(path):
        gathering.kind = "YOLO dataset"
        files = read_yolo(path, gathering, images_dir)
    else:
        return None
    return *gathering.content(path), files


def _is_sleap(path: Path) -> bool:
    """Whether an HDF5 file holds labels as SLEAP writes them; those of DeepLabCut are a table of pandas."""
    import h5py

    try:
        with h5py.File(path) as file:
            return {"metadata", "frames"} <= set(file)
    except (OSError, RuntimeError) as error:
        raise LabelFault(f"{path}: found a damaged HDF5 file ({error}), expected a whole one; copy it again.") from None


def read_content(path: Path, content: Any) -> Content | None:
    """Reads a JSON's content as labelme, Label Studio or VIA leave it; None where it is none of them."""
    gathering = Gathering("")
    if is_labelme(content):
        gathering.kind = "labelme file"
        read_labelme([path], path.parent, gathering)
    elif is_label_studio(content):
        gathering.kind = "Label Studio tasks"
        read_label_studio(path, content, gathering)
    elif is_via(content):
        gathering.kind = "VIA project"
        read_via(path, content, gathering)
    else:
        return None
    return *gathering.content(path), [path]
