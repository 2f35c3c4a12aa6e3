"""What is around the code: the command, the types that ship, and what every commit passes."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import centerkp

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "centerkp"


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


def test_types_ship_with_the_package():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["centerkp"]
    assert PACKAGE / "py.typed" in {path for pattern in shipped for path in PACKAGE.glob(pattern)}


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
