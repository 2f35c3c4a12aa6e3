"""Which runtime computes a `.keras` file on a processor: the fastest that is installed, by an artefact made once and kept."""

import json
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from centerkp import __version__
from centerkp.console import import_quietly, make_console
from centerkp.samples.memory import find_free_memory
from centerkp.weights.trained import find_model
from centerkp.wording import name_canvas
from centerkp.writing import hold_folder, mark, write_json

FOLDER, NOTED = "runtimes", {"failures", "times_as_fast", "max_objects"}
# Fastest first, see benchmarks/LATENCY.md: names, endings, and the packages that write and run them.
RUNTIMES = {"openvino": (".xml", ("openvino", "onnx")), "onnx": (".onnx", ("onnxruntime", "onnx"))}
NAMES = {"openvino": "OpenVINO", "onnx": "ONNX Runtime"}
# For fewer pictures, and one more for so many bytes of the model, making one would take longer than it saves.
FEW, BYTES_A_PICTURE = 20, 4_000_000
MEMORY = 10  # times the size of the file, while an artefact of it is written and compared
# Files of Linux for accelerators: of NVIDIA, in Windows's Linux, of AMD, Google's. Without one, Keras need not be asked.
DEVICES = ("nvidiactl", "dxg", "kfd", "accel0", "vfio/0")


def choose_runtime(
    weights: str | Path,
    runtime: str = "auto",
    *,
    pictures: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    max_objects: int | None = None,
    console: Console,
) -> str | Path:
    """What `load_detector` is to load for a model: the model itself, which Keras computes, or an artefact that is faster.

    The artefact is an export in float32, compared with Keras like any other, in the folder `runtimes` beside the `.keras` file.
    It is made when it is first needed, and made anew when the file or the version of centerkp has changed. The console says
    what computes and why.

    Args:
        weights: what `load_detector` takes; only a `.keras` file and the folder of a run leave a choice.
        runtime: "keras", "openvino" or "onnx"; "auto" is the first of `RUNTIMES` that is installed, and Keras where there is a
            GPU, where a new artefact would take longer than so few pictures, and where it would be slower or differ.
        pictures: how many there will be; None when there is no end known.
        image_size, max_objects: as `load_detector` takes them for a `.keras` file; an artefact has them inside.

    Raises:
        ValueError: a runtime other than "auto" for what is no `.keras` file, or whose artefact differs from Keras.
        FileNotFoundError: no such file, or a runtime that is not installed.
    """
    path = find_model(weights)
    if runtime == "keras":
        return path
    asked = runtime != "auto"
    if Path(path).suffix == ".keras" and not zipfile.is_zipfile(path):
        return path  # loading it says so
    if Path(path).suffix != ".keras":  # an artefact, a checkpoint, or a word for the zoo's
        if not asked:
            return path
        raise ValueError(f"--runtime: found {runtime} for {path}, expected a .keras file to make it from; leave it out.")
    name = runtime if asked else _find_fastest(console, pictures is None or pictures >= FEW)
    if name is None:
        return path
    place, wanted = _Place(Path(path), name, image_size), None if asked else pictures
    made = _find_or_make(place, wanted, asked, console)
    if made and not made["failures"] and max_objects and made["max_objects"] < max_objects:
        place = replace(place, max_objects=max_objects)
        made = _find_or_make(place, wanted, asked, console)
    if made and _is_to_be_used(place, made, asked, console):
        return place.artefact
    return path


def has_accelerator() -> bool:
    """Whether Keras computes on something other than the processor."""
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in DEVICES):
        return False
    keras: Any = import_quietly("keras")
    return any(not str(device).lower().startswith("cpu") for device in keras.distribution.list_devices())


@dataclass(frozen=True)
class _Place:
    """Where the artefact of a `.keras` file lies for one runtime, size and number of objects."""

    weights: Path
    runtime: str
    image_size: int | tuple[int, int] | None
    max_objects: int | None = None

    @property
    def artefact(self) -> Path:
        """The exported file: "runtimes/best.xml", for another size and more objects "runtimes/best_512_500_objects.xml"."""
        size = name_canvas(*self.image_size) if isinstance(self.image_size, tuple) else self.image_size
        words = [self.weights.stem, size, self.max_objects and f"{self.max_objects}_objects"]
        return self.weights.parent / FOLDER / ("_".join(str(word) for word in words if word) + RUNTIMES[self.runtime][0])

    @property
    def note(self) -> Path:
        """Which weights the artefact was made from, and how that went."""
        return self.artefact.with_name(f"{self.artefact.name}.kept.json")

    def read(self) -> dict[str, Any]:
        """The note of an artefact that is whole and was made from these weights by this version; else nothing."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            is_whole = all((self.artefact.parent / name).stat().st_size == size for name, size in note["files"].items())
            is_right = note["made_from"] == self.made_from() and note.keys() >= NOTED and (note["files"] or note["failures"])
            return note if is_whole and is_right else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
            return {}

    def made_from(self) -> list[str]:
        """What an artefact depends on besides its name: the version, and what the `.keras` file holds, by its checksums."""
        with zipfile.ZipFile(self.weights) as archive:
            content = [(one.filename, one.CRC, one.file_size) for one in archive.infolist()]
        return [__version__, sha256(repr(content).encode()).hexdigest()]


def _find_fastest(console: Console, many: bool) -> str | None:
    """The runtime to take where nobody named one; None for Keras, with a hint where `many` pictures would gain by another."""
    if has_accelerator():
        return None
    found = [name for name, (_, packages) in RUNTIMES.items() if all(map(find_spec, packages))]
    if not found and many:
        console.print("computed by Keras; OpenVINO is faster on a processor: pip install 'centerkp[openvino]'")
    return found[0] if found else None


def _find_or_make(place: _Place, pictures: int | None, asked: bool, console: Console) -> dict[str, Any]:
    """The note of an artefact, which is made where it is not there and worth it; nothing where Keras is to compute."""
    if made := place.read():
        return made
    size, name = place.weights.stat().st_size, NAMES[place.runtime]
    least = FEW + size // BYTES_A_PICTURE
    if pictures is not None and pictures < least:
        console.print(f"computed by Keras; from {least} pictures on by {name} (--runtime {place.runtime}: now)")
        return {}
    free = find_free_memory().get("resident")
    if not asked and free is not None and free < MEMORY * size:
        console.print(f"computed by Keras: {free / 1e9:.1f} GB of memory are free, and making a model for {name} takes more")
        return {}
    try:
        with hold_folder(place.artefact.parent, report=lambda holder: console.print(f"waiting for {holder}, which makes it")):
            return place.read() or _make(place, console)
    except Exception as error:
        if asked:
            raise
        console.print(f"computed by Keras: {name} could not be used: {error}", style="yellow", soft_wrap=True)
        return {}


def _make(place: _Place, console: Console) -> dict[str, Any]:
    """Exports a model for its runtime, and notes what it was made from."""
    import_quietly("keras")
    from centerkp.export.formats import export

    started, name = time.monotonic(), NAMES[place.runtime]
    made_from = place.made_from()
    with console.status(f"making a model for {name}, once ..."):
        made = export(
            place.weights,
            place.runtime,
            image_size=place.image_size,
            max_objects=place.max_objects,
            out=place.artefact,
            console=make_console(quiet=True),
        )
    note: dict[str, Any] = {"made_by": mark("infer"), "made_from": made_from, "failures": made.verification.failures}
    note["max_objects"] = made.max_objects
    note["times_as_fast"] = made.verification.keras_latency / made.verification.latency
    files = [place.artefact.with_suffix(ending) for ending in (place.artefact.suffix, ".bin")] if made.passed else []
    note["files"] = {file.name: file.stat().st_size for file in files if file.exists()}
    write_json(place.note, note, indent=2)
    console.print(f"made a model for {name} in {time.monotonic() - started:.0f} s, kept as {place.artefact}", soft_wrap=True)
    return note


def _is_to_be_used(place: _Place, made: dict[str, Any], asked: bool, console: Console) -> bool:
    """Whether an artefact computes rather than Keras; says so, and why."""
    name, times = NAMES[place.runtime], made["times_as_fast"]
    if made["failures"]:
        differs = f"found differences from Keras over the tolerance ({'; '.join(made['failures'])})"
        if asked:
            raise ValueError(f"{place.artefact}: {differs}, expected none; use --runtime keras.")
        console.print(f"computed by Keras: {name} {differs}", style="yellow", soft_wrap=True)
        return False
    if times < 1 and not asked:
        console.print(f"computed by Keras: {name} was slower when it was compared, {times:.2f} times as fast")
        return False
    console.print(
        f"computed by {name}, {times:.1f} times as fast as Keras when they were compared (--runtime keras for that, which "
        "alone says how uncertain each keypoint is)"
    )
    return True
