"""The wheel alone, as a stranger has it: in an environment and a folder of its own, with nothing of the checkout.

    python tests/packaged.py dist/centerkp-0.1.0-py3-none-any.whl     # with the Python that runs this: 3.11 or newer

installs it with the newest versions that it allows, runs `centerkp demo --epochs 1`, and then the Python lines of the README
that the wheel carries. `make package` builds the wheel and runs this.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

# What the README's lines take for granted, made of what the demonstration left.
STAGE = """
import shutil
from pathlib import Path

import numpy as np

import centerkp
from centerkp.labels.coco import read_coco
from centerkp.samples.pipeline import make_batches
from centerkp.samples.sample import Sampler

assert Path(centerkp.__file__).is_relative_to(HOME), f"{centerkp.__file__} is not in {HOME}"
shutil.copy("data/demo/train.json", "ann.json")
shutil.copytree(next(Path("runs").glob("*/best.keras")).parent, "runs/ann")
Path("photos").mkdir()
for picture in sorted(Path("data/demo/images").glob("test_*.jpg"))[:2]:
    shutil.copy(picture, "photos")
    shutil.copy(picture, "photo.jpg")
dataset = read_coco("data/demo/val.json")
batches = make_batches(dataset.records[:4], Sampler(dataset.schema, (256, 256)), 2, seed=0, shuffle=False)
images = np.zeros((2, 256, 256, 3), np.uint8)
"""


def readme_lines(wheel: Path) -> str:
    """The Python blocks about this package in the README that a wheel carries; its `fit(...)` is given batches.

    Raises:
        ValueError: the wheel carries no such lines.
    """
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        blocks = re.findall(r"```python\n(.*?)```", archive.read(name).decode(), re.DOTALL)
    lines = "\n".join(block for block in blocks if "centerkp." in block)
    if not lines:
        raise ValueError(f"{wheel}: found no Python lines in its README, expected those that show how it is used.")
    return lines.replace(".fit(...)", ".fit(batches, verbose=0)")


def main(wheel: Path) -> None:
    """Installs a wheel into an environment of its own, and runs the demonstration and the README's lines there."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    environment |= {"MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory(prefix="centerkp_alone_") as folder:
        home, work = Path(folder, "environment"), Path(folder, "work")
        work.mkdir()
        venv.create(home, with_pip=True)
        bin = home / ("Scripts" if os.name == "nt" else "bin")

        def step(words: str, *command: str | Path) -> None:
            start = time.monotonic()
            subprocess.run([bin / command[0], *command[1:]], cwd=work, env=environment, check=True)
            print(f"--- Python {sys.version.split()[0]}, {words}: {time.monotonic() - start:.0f} s", flush=True)

        step("installed", "python", "-m", "pip", "install", "--quiet", wheel)
        step("version", "centerkp", "--version")
        step("demo", "centerkp", "demo", "--epochs", "1")
        lines = readme_lines(wheel)
        if "to_dataframe" in lines:  # which wants pandas, and says so
            step("pandas", "python", "-m", "pip", "install", "--quiet", "pandas")
        step("the README's lines", "python", "-c", f"HOME = {str(home)!r}\n{STAGE}\n{lines}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
