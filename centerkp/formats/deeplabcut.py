"""DeepLabCut: a project with a table for every video, as CSV and HDF5, a column for each coordinate of a body part."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from centerkp.formats.gathering import Gathering, LabelFault, reading
from centerkp.formats.hdf5 import check_hdf5

KIND = "DeepLabCut table"
CLASS = "animal"
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def find_tables(folder: Path) -> list[Path]:
    """The tables of labels in a project of DeepLabCut, or in the folder of one of its videos; CSV before HDF5."""
    tables: dict[Path, Path] = {}
    for pattern in ("CollectedData_*.h5", "CollectedData_*.csv"):
        for place in ("labeled-data/*/", "*/", ""):
            tables |= {path.with_suffix(""): path for path in folder.glob(place + pattern)}
    return sorted(tables.values())


def read_deeplabcut(tables: Sequence[Path], gathering: Gathering) -> list[Path]:
    """Reads tables of labels; every individual is an object of the one class, and unique body parts are another's.

    Returns:
        The files of the tables, each with the CSV beside it, which is read in its place.

    Raises:
        LabelFault: a table of something else, as of predictions.
    """
    files = []
    for path in tables:
        with reading(path, KIND):
            beside = path.with_suffix(".csv")
            files += [path] if path == beside or not beside.is_file() else [path, beside]
            header, rows = _read_csv(beside) if beside.is_file() else _read_hdf5(path)
            if "likelihood" in header["coords"]:
                raise LabelFault(
                    f"{path}: found predictions of DeepLabCut, expected labels; give CollectedData_*.csv or the project."
                )
            individuals = header.get("individuals", [CLASS] * len(header["coords"]))
            for name, cells in [*header.items(), *rows]:
                if len(cells) != len(header["coords"]):
                    raise LabelFault(
                        f"{path}: found a row longer or shorter than that of 'coords': {len(cells)} cells of '{name}', "
                        f"expected {len(header['coords'])}; export it again, or fill the row with empty cells."
                    )
            for name, cells in rows:
                _add_image(gathering, name, list(zip(individuals, header["bodyparts"], header["coords"], cells, strict=True)))
    gathering.note("object", f"DeepLabCut names no class, called '{CLASS}'", len(gathering.objects))
    _add_skeleton(tables[0].parent, gathering)
    return files


def _add_image(gathering: Gathering, name: str, cells: list[tuple[str, str, str, Any]]) -> None:
    """Adds one row of a DeepLabCut table: an image and its animals."""
    image_id = gathering.add_image(name.replace("\\", "/"))
    animals: dict[str, dict[str, dict[str, float]]] = {}
    for individual, part, axis, cell in cells:
        if str(cell).strip().lower() not in ("", "nan"):
            animals.setdefault(individual, {}).setdefault(part, {})[axis] = float(cell)
    for individual, parts in animals.items():
        points = {part: (place["x"], place["y"], 2) for part, place in parts.items()}
        gathering.add_object(image_id, "single" if individual == "single" else CLASS, None, points)


def _read_csv(path: Path) -> tuple[dict[str, list[str]], list[tuple[str, list[str]]]]:
    """The header of a DeepLabCut table by its levels, and the rows: an image's path, in one cell or in three, and numbers."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        table = [row for row in csv.reader(file) if row]
    header = {row[0]: row for row in table[: len(_LEVELS)] if row[0] in _LEVELS}
    first = header["coords"].index("x")
    levels = {level: row[first:] for level, row in header.items()}
    return levels, [("/".join(cell for cell in row[:first] if cell), row[first:]) for row in table[len(header) :]]


def _read_hdf5(path: Path) -> tuple[dict[str, list[str]], list[tuple[str, list[float]]]]:
    """The same from the HDF5 of a DeepLabCut table, a frame in the fixed format of pandas.

    Read without pandas, whose reader runs the pickled code that such a file may hold.
    """
    import h5py

    check_hdf5(path)
    with h5py.File(path) as file:
        frame = next((node for node in file.values() if node.attrs.get("pandas_type") == b"frame"), None)
        if frame is None:
            raise ValueError("no frame in the fixed format of pandas")
        header = dict(_read_axis(frame, "axis0"))
        names = ["/".join(parts) for parts in zip(*(words for _, words in _read_axis(frame, "axis1")), strict=True)]
        columns = {key: column for column, key in enumerate(zip(*header.values(), strict=True))}
        cells = np.full((len(names), len(columns)), np.nan)
        for number in range(int(frame.attrs["nblocks"])):
            values = frame[f"block{number}_values"]
            items = zip(*(words for _, words in _read_axis(frame, f"block{number}_items")), strict=True)
            cells[:, [columns[key] for key in items]] = values[()] if values.attrs.get("transposed") else values[()].T
    return header, list(zip(names, cells.tolist(), strict=True))


def _read_axis(frame: Any, name: str) -> list[tuple[str, list[str]]]:
    """The levels of an axis of a DeepLabCut frame in HDF5, each with its name and the word at every place."""
    if frame.attrs.get(f"{name}_variety") != b"multi":
        return [("", [word.decode() for word in frame[name][()].tolist()])]
    levels = []
    for number in range(int(frame.attrs[f"{name}_nlevels"])):
        node, places = frame[f"{name}_level{number}"], frame[f"{name}_label{number}"][()]
        if len(places) and places.min() < 0:
            raise ValueError(f"no word at some places of {name}")
        words = [word.decode() for word in node[()].tolist()]
        levels.append((bytes(node.attrs["name"]).decode(), [words[place] for place in places]))
    return levels


def _add_skeleton(folder: Path, gathering: Gathering) -> None:
    """The edges that the config.yaml of a DeepLabCut project names, in a folder above its tables."""
    config = next((place / "config.yaml" for place in (folder, *folder.parents[:2]) if (place / "config.yaml").is_file()), None)
    names = gathering.classes[CLASS]["keypoints"] if CLASS in gathering.classes else []
    if config and names:
        with reading(config, "DeepLabCut project"):
            try:
                edges = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("skeleton") or []
            except yaml.YAMLError as error:
                raise ValueError(f"no YAML: {error}") from None
            known = [edge for edge in edges if set(edge) <= set(names)]
            gathering.classes[CLASS]["skeleton"] = [[names.index(end) + 1 for end in edge] for edge in known]
