"""What is around the code: what is built and whether it runs alone, the command, the types, and what every commit passes."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import packaged
import pytest
import yaml

import centerkp

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "centerkp"


# What is read at run time: weights, the pages' words, pictures that are drawn; `tests/packaged.py` trains, which takes minutes.
ALONE = """
import sys
from pathlib import Path
import centerkp
from centerkp.cli import main
from centerkp.demo.scenes import write_demo

files = write_demo("data", num_train=4, num_val=2, num_test=2, size=(96, 80))
assert main(["check", str(files.train_json), "--html", "check.html"]) in (0, 1) and Path("check.html").stat().st_size > 5000
schema = centerkp.Schema.from_coco(files.train_json)
model = centerkp.build_model(schema, backbone="efficientnet_lite0_fpn", image_size=64, weights="drawn")
results = centerkp.predict(model, str(files.images_dir / "test_0001.jpg"), min_score=0.0)
assert results[0].plot().shape == (80, 96, 3)
homes = [Path(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] == "centerkp"]
assert len(homes) > 50 and all(home.is_relative_to(sys.argv[1]) for home in homes), homes
"""


def list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist, and the wheel that was built from it, of a copy of this checkout; without a network."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in ("centerkp", "benchmarks", "docs", "notebooks", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy]
    subprocess.run(command, capture_output=True, text=True, check=True)
    return out


def test_the_wheel_holds_the_package_and_its_licences_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    ours = {path.relative_to(ROOT).as_posix() for path in list_files(PACKAGE)}
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert {"centerkp/py.typed", "centerkp/weights/drawn/efficientnet_lite0_fpn.npz"} <= ours
    licences = {name.split("/licenses/")[1] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"} and wheel.name == f"centerkp-{centerkp.__version__}-py3-none-any.whl"
    assert "centerkp.predict(" in packaged.readme_lines(wheel)


def test_the_source_distribution_can_be_tested(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {path for folder in ("tests", "docs", "notebooks", "benchmarks") for path in list_files(ROOT / folder)}
    wanted |= {ROOT / name for name in ("Makefile", "CHANGELOG.md", "CITATION.cff", "NOTICE", "constraints.txt", "train.py")}
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= names and not any("__pycache__" in name for name in names)


@pytest.mark.long
def test_the_wheel_runs_without_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", home, wheel]
    subprocess.run(install, capture_output=True, text=True, check=True)
    command, environment = [sys.executable, "-c", ALONE, home], os.environ | {"PYTHONPATH": str(home)}
    child = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr


def test_the_version_stands_in_one_place_and_who_cites_it_names_it():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.findall(r"^## (\d\S*) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == (centerkp.__version__, str(citation["date-released"])) and citation["version"] == newest[0]


def test_notice_names_the_origin_of_all_weights():
    from centerkp.weights.imagenet import FILES
    from centerkp.weights.packaged import FOLDER

    notice = (ROOT / "NOTICE").read_text()
    assert all(path.relative_to(ROOT).as_posix() in notice for path in FOLDER.glob("*.npz"))
    assert all(Path(file.path).name in notice for file in FILES.values())


def test_python_runs_the_package_as_a_command():
    command = [sys.executable, "-m", "centerkp", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().endswith(centerkp.__version__)


def test_convolutions_are_onednns_unless_someone_says_otherwise():
    command = [sys.executable, "-c", "import os, centerkp; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"]
    for said, expected in ((None, "1"), ("0", "0")):
        environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
        environment |= {"TF_ENABLE_ONEDNN_OPTS": said} if said else {}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
        assert done.stdout.strip() == expected


def test_types_and_pages_ship_with_the_package():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["centerkp"]
    files = {path for pattern in shipped for path in PACKAGE.glob(pattern)}
    assert {PACKAGE / "py.typed", *PACKAGE.rglob("*.html")} <= files and PACKAGE / "serving" / "page.html" in files


def test_type_checkers_find_what_is_loaded_on_first_use():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If) and node.test.id == "TYPE_CHECKING")
    assert {alias.asname: node.module for node in branch.body for alias in node.names} == centerkp._HOMES


def test_a_commit_passes_what_make_test_runs_first():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    makefile = (ROOT / "Makefile").read_text()
    first = makefile.partition("\ntest:")[2].partition("$(PYTEST)")[0]
    for hook in local["hooks"]:
        assert hook["entry"].removeprefix(".venv/").removesuffix(" --force-exclude").replace("bin/", "$(BIN)/") in first
    assert first.count("$(BIN)/") == len(local["hooks"]) + 1  # and the line that runs the tests
