"""A newcomer's path, timed: the commands of docs/start.md one after another, in a fresh clone and with the wheel alone.

    python benchmarks/newcomer.py --coco DATA/train.json --images DATA/images [--ways clone wheel] [--time 5m]

The commands are read out of the page, so that what it forgets to say fails here. It takes some twenty minutes on two cores and
fetches some gigabytes of packages; it prints its result, and with --output writes it as a page.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import page

ROOT = Path(__file__).parents[1]
MARK = ":::"
PHOTOS = 3  # of those that are predicted
METHOD = """\
Written by `{command}`. The lines of the blocks of `docs/start.md` are given to one shell one after another, in a new clone, and
in an empty folder with the wheel, where `pip install WHEEL`, `centerkp train` and `centerkp infer` stand for what only a clone
has, as the page says. Before, the folder has been given `ann.json` ({images} photographs with {objects} objects, in `images/`),
`photos/` with {photos} more, and of these a clip and a still. {changed} `.venv` is all that is installed; packages came from a
mirror nearby."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", type=Path, required=True, help="labels of photographs, as COCO keypoints")
    parser.add_argument("--images", type=Path, required=True, help="their folder")
    parser.add_argument("--count", type=int, default=60, help="photographs to train on (default: 60)")
    parser.add_argument("--ways", nargs="*", default=["clone", "wheel"], choices=["clone", "wheel"])
    parser.add_argument("--time", default="5m", help="what training may take in place of the page's half an hour (default: 5m)")
    parser.add_argument("--demo", action="store_true", help="the whole demonstration in the clone, too")
    parser.add_argument("--output", type=Path, help="page to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        text = write_page(options, Path(name))
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


def write_page(options: argparse.Namespace, folder: Path) -> str:
    load, took, sizes = os.getloadavg()[0], {}, {}
    for way in options.ways:
        home = folder / way
        subprocess.run(["git", "clone", "--quiet", ROOT, home], check=True)
        wheel = build_wheel(home, folder) if way == "wheel" else None
        if wheel:
            shutil.rmtree(home)
            home.mkdir()
            shutil.copy(wheel, home)
        counts = lay_out(options, home)
        lines = {line: change(line, options, wheel) for line in read_lines()}
        took[way] = follow({line: given for line, given in lines.items() if given}, home)
        check_outcome(home)
        sizes[way] = sum(path.lstat().st_size for path in (home / ".venv").rglob("*")) / 1e9
        shutil.rmtree(home)
    rows = [
        [name_line(line, options), *(show(seconds.get(line)) for seconds in took.values())]
        for line in read_lines()
        if any(line in seconds for seconds in took.values())
    ]
    changed = f"`--time {options.time}` stands for the page's half an hour"
    changed += "." if options.demo else ", and of the two demonstrations only the short one is run."
    method = METHOD.format(command=" ".join(["python benchmarks/newcomer.py", *hide(sys.argv[1:])]), changed=changed, **counts)
    total = ["all of it", *(show(sum(seconds.values())) for seconds in took.values())]
    space = ["`.venv`", *(f"{size:.1f} GB" for size in sizes.values())]
    facts = page.machine_facts([], load)
    facts = "\n".join(line for line in facts.splitlines() if "matrix" not in line and "backend" not in line)
    table = page.table(["in the words of the start page", *took], [*rows, total, space])
    return f"# A newcomer's path\n\n{page.paragraph(method)}\n\n{table}\n\n{facts}\n"


def hide(arguments: list[str]) -> list[str]:
    """Arguments without the folders of this machine."""
    return [Path(word).name if "/" in word else word for word in arguments]


def build_wheel(clone: Path, folder: Path) -> Path:
    """The wheel of a clone."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", clone]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next((folder / "dist").glob("*.whl"))


def lay_out(options: argparse.Namespace, home: Path) -> dict[str, int]:
    """Puts somebody's labels and pictures under the names that the page gives them; how many there are."""
    import cv2

    content = json.loads(options.coco.read_text(encoding="utf-8"))
    train, more = content["images"][: options.count], content["images"][options.count : options.count + PHOTOS]
    ids = {image["id"] for image in train}
    objects = [one for one in content["annotations"] if one["image_id"] in ids]
    (home / "ann.json").write_text(json.dumps(content | {"images": train, "annotations": objects}), encoding="utf-8")
    for name, images in (("images", train), ("photos", more)):
        (home / name).mkdir(exist_ok=True)
        for image in images:
            shutil.copy(options.images / image["file_name"], home / name)
    frame = cv2.resize(cv2.imread(str(options.images / more[0]["file_name"])), (640, 360))
    cv2.imwrite(str(home / "clip_01.png"), frame)
    writer = cv2.VideoWriter(str(home / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (640, 360))
    for _ in range(10):
        writer.write(frame)
    writer.release()
    return {"images": len(train), "objects": len(objects), "photos": len(more)}


def read_lines() -> list[str]:
    """Commands of the page, one each, and its Python as one."""
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    lines = []
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if kind == "sh":
            lines += [re.sub(r"\s+#\s.*$", "", line).strip() for line in block.splitlines() if line.strip()]
        elif kind == "python":
            lines.append(f"python - <<'END'\n{block}END")
    return lines


def change(line: str, options: argparse.Namespace, wheel: Path | None) -> str:
    """A line of the page as it is given to the shell; empty where it is left out."""
    if line == "centerkp demo" and (wheel or not options.demo):
        return ""
    if wheel:
        line = line.replace("pip install -e .", f"pip install {wheel.name}")
        line = re.sub(r"^python (train|infer)\.py", r"centerkp \1", line)
    return re.sub(r"--time \w+", f"--time {options.time}", line)


def name_line(line: str, options: argparse.Namespace) -> str:
    """A line of the page as the table has it."""
    return "the lines of Python" if line.startswith("python - ") else f"`{change(line, options, None) or line}`"


def show(seconds: float | None) -> str:
    """Seconds, or minutes where there are many; empty for none."""
    return "" if seconds is None else f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def follow(lines: dict[str, str], home: Path) -> dict[str, float]:
    """Gives lines to one shell, as somebody at a terminal does; the seconds of each, by the page's line.

    Raises:
        ChildProcessError: one of them failed; `check` may find something (1).
    """
    script, marks = home.parent / "lines.sh", home.parent / "marks.txt"
    step = f"S=$EPOCHREALTIME\n%s\necho $? $S $EPOCHREALTIME >> {marks}\n"
    script.write_text("".join(step % given for given in lines.values()), encoding="utf-8")
    marks.unlink(missing_ok=True)
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "KERAS_BACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    bins = [folder for folder in environment["PATH"].split(os.pathsep) if Path(folder) != Path(sys.executable).parent]
    environment |= {"PATH": os.pathsep.join(bins), "TERM": "dumb"}
    subprocess.run(["bash", script], cwd=home, env=environment, check=True, stdin=subprocess.DEVNULL)
    seconds = {}
    for line, mark in zip(lines, marks.read_text().splitlines(), strict=True):
        code, began, ended = mark.split()
        if int(code) not in ((0, 1) if line.startswith("centerkp check") else (0,)):
            raise ChildProcessError(f"{line}: ended with {code}")
        seconds[line] = float(ended.replace(",", ".")) - float(began.replace(",", "."))
    return seconds


def check_outcome(home: Path) -> None:
    """Raises unless the newcomer has got what the page promises."""
    for name in ("runs/ann/best.keras", "runs/ann/report.html", "report.html", "predictions/predictions.json"):
        if not (home / name).is_file():
            raise FileNotFoundError(f"{name}: there is no such file, which the page promises.")


if __name__ == "__main__":
    main()
