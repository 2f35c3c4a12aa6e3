"""The shape of the house: who may import whom, and what `import centerkp` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "centerkp"
# A room imports rooms below it only; those of one rung never meet.
LADDER = (
    ("schema", "sides", "heads", "geometry", "results", "wording", "console", "writing"),  # every room's words
    ("images", "demo", "symmetry", "tracking"),
    ("formats",),
    ("codec", "labels"),
    ("model", "doctor", "samples", "tfrecord"),
    ("drawing", "weights", "runtimes"),
    ("inference",),
    ("evaluation", "bulk", "serving"),
    ("settings",),
    ("report", "distribution"),
    ("training", "export"),
    ("trials", "review"),
    ("cli",),
)
RUNG = {room: rung for rung, rooms in enumerate(LADDER) for room in rooms} | {"__main__": len(LADDER)}
TENSORFLOW_ROOMS = {
    "model/accumulation.py", "samples/pipeline.py", "tfrecord/writer.py", "weights/checkpoint.py", "export/saved_model.py",
    "export/litert.py", "runtimes/saved_model.py",
}  # fmt: skip
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Imported modules, and whether the import runs with the module and not inside a function."""
    tree = ast.parse(path.read_text())
    deferred = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in deferred) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "centerkp" else [node.module]
            found += [(name, id(node) not in deferred) for name in names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "import_quietly", "import_extra"):
            found += [(node.args[0].value, id(node) not in deferred)] if isinstance(node.args[0], ast.Constant) else []
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down_the_ladder(path):
    room = room_of(path)
    assert room in RUNG, f"{room} has no place on the ladder"
    others = {name.split(".")[1] for name, _ in imports_of(path) if name.startswith("centerkp.")} - {room, "__version__"}
    # The lowest rung has no rooms, but words that build on each other.
    wrong = {other for other in others if RUNG[other] >= RUNG[room] and RUNG[room] > 0 or RUNG[other] > RUNG[room]}
    assert not wrong, f"{room} (rung {RUNG[room]}) imports {wrong}"


def test_rooms_have_a_size_and_say_what_they_are_for():
    rooms = [p for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert {p.name for p in rooms} == {room for rooms in LADDER[1:] for room in rooms}
    for room in rooms:
        assert sum(len(p.read_text().splitlines()) for p in room.glob("*.py")) <= 3000, room
        assert len(ast.get_docstring(ast.parse((room / "__init__.py").read_text())).splitlines()) >= 2, room
    loose = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= 8 and loose == set(LADDER[0])


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_tensorflow_stays_in_its_rooms(path):
    for name, at_import in imports_of(path):
        if name.split(".")[0] == "tensorflow":
            assert path.relative_to(PACKAGE).as_posix() in TENSORFLOW_ROOMS and not at_import


def test_lowest_rooms_need_numpy_only():
    more = {"console": {"rich"}, "writing": {"filelock"}}
    for path in FILES:
        if RUNG[room_of(path)] == 0:
            allowed = sys.stdlib_module_names | {"numpy", "centerkp"} | more.get(path.stem, set())
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
        "start = time.process_time()\n"
        "import centerkp\n"
        "centerkp.Schema\n"
        "seconds = time.process_time() - start\n"
        "heavy = {'tensorflow', 'keras', 'albumentations', 'cv2', 'matplotlib', 'jax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert seconds < 1, seconds\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_commands_know_their_flags_without_keras():
    """It is imported after that, quietly."""
    code = (
        "import argparse, importlib, sys\n"
        "from centerkp.cli.commands import COMMANDS\n"
        "for name in COMMANDS:\n"
        "    importlib.import_module(f'centerkp.cli.{name}').add_arguments(argparse.ArgumentParser())\n"
        "    assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules), name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_albumentations_is_imported_without_the_network():
    code = (
        "import urllib.request\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "urllib.request.urlopen = urllib.request.OpenerDirector.open = refuse\n"
        "import centerkp.samples.augment, os\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name():
    import centerkp

    with pytest.raises(AttributeError, match="build_model"):
        centerkp.build_modell  # noqa: B018
    assert "Schema" in dir(centerkp)
