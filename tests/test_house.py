"""The shape of the house: who may import whom, and what `import centerkp` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "centerkp"
# Imports go down only. data/ and model/ share a step and never meet.
LADDER = [
    {"schema", "sides", "heads", "geometry", "config", "writing"},
    {"codec", "results", "lettering", "text_format", "label_map", "console"},
    {"data", "model", "drawing"},
    {
        "inference",
        "image_result",
        "augmented",
        "prediction_files",
        "screen",
        "sources",
        "tracking",
        "video",
        "evaluation",
        "evaluation_tables",
        "average_precision",
        "keypoint_error",
        "confusion",
        "curves",
        "image_quality",
        "speed",
        "export",
    },
    {
        "training",
        "callbacks",
        "dry_run",
        "run_folder",
        "summary",
        "outputs",
        "loading",
        "predicting",
        "evaluating",
        "report",
        "demo",
    },
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LADDER, 1) for room in rooms}
TENSORFLOW_ROOMS = {"data/pipeline.py", "data/tfrecord.py", "model/checkpoint.py", "export/saved_model.py", "export/litert.py"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Imported modules, and whether the import runs with the module (and not inside a function or for types only)."""
    tree = ast.parse(path.read_text())
    deferred = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)}
    typed = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test)
             for node in ast.walk(outer)}  # fmt: skip
    found = []
    for node in ast.walk(tree):
        if id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in deferred) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "centerkp" else [node.module]
            found += [(name, id(node) not in deferred) for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down_the_ladder(path):
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place on the ladder"
    for name, _ in imports_of(path):
        if not name.startswith("centerkp."):
            continue
        other = name.split(".")[1]
        if other == "__version__" or other == room:
            continue
        assert LEVEL[other] < LEVEL[room] or (LEVEL[other] == LEVEL[room] and not {room, other} == {"data", "model"}), (
            f"{path.name} (level {LEVEL[room]}) imports {name} (level {LEVEL[other]})"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_tensorflow_stays_in_its_rooms(path):
    for name, at_import in imports_of(path):
        if name.split(".")[0] == "tensorflow":
            assert path.relative_to(PACKAGE).as_posix() in TENSORFLOW_ROOMS and not at_import


def test_lowest_rooms_need_numpy_only():
    for path in FILES:
        if LEVEL[room_of(path)] == 1:
            allowed = sys.stdlib_module_names | {"numpy", "centerkp"}
            assert {name.split(".")[0] for name, _ in imports_of(path)} <= allowed, path


def test_files_stay_readable():
    lengths = {p.relative_to(PACKAGE).as_posix(): len(p.read_text().splitlines()) for p in FILES}
    assert {name: n for name, n in lengths.items() if n > 320} == {}


def test_import_is_light():
    """No TensorFlow, no Albumentations, no network, in under a second."""
    code = (
        "import socket, sys, time\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "start = time.perf_counter()\n"
        "import centerkp\n"
        "centerkp.Schema\n"
        "seconds = time.perf_counter() - start\n"
        "heavy = {'tensorflow', 'keras', 'albumentations', 'cv2', 'matplotlib', 'jax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 1, seconds\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_albumentations_is_imported_without_the_network():
    code = (
        "import urllib.request\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "urllib.request.urlopen = urllib.request.OpenerDirector.open = refuse\n"
        "import centerkp.data.augment, os\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name():
    import centerkp

    with pytest.raises(AttributeError, match="build_model"):
        centerkp.build_modell  # noqa: B018
    assert "Schema" in dir(centerkp)
