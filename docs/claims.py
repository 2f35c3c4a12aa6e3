"""Fills in what README and docs/ take from elsewhere: numbers of the pages in benchmarks/, and the flags of the commands.

    python docs/claims.py            # writes them anew; --check only says which files are out of date

What stands between `<!-- claim: NAME -->` and `<!-- /claim -->` is what CLAIMS[NAME] gives, one line or several.
"""

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from centerkp.cli.commands import COMMANDS, build_parser

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"(<!-- claim: ([\w.-]+) -->)(.*?)(<!-- /claim -->)", re.DOTALL)
LIGHT = "efficientnet_lite0_fpn"  # what trains by default where there is no large accelerator
Row = dict[str, str]


@cache
def read_tables(page: str) -> dict[str, list[Row]]:
    """The tables of a page in benchmarks/, each by the heading above it (of several the first), its rows by their header."""
    tables, heading, header = {}, "", None
    for line in (ROOT / "benchmarks" / f"{page}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = split_row(line) if line.startswith("|") else None
        if cells is None:
            header = None
        elif header is None:
            header, rows = cells, []
            tables.setdefault(heading, rows)
        elif not set(line) <= set("|-: "):
            rows.append(dict(zip(header, cells, strict=False)))
    return tables


def split_row(line: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip()[1:-1].split("|")]


def find_rows(page: str, heading: str | None = None, **wanted: str) -> list[Row]:
    """Rows of a page's first table, or of the one under a heading, whose cells are as wanted.

    Raises:
        ValueError: there are none, so that nothing can be claimed.
    """
    tables = read_tables(page)
    rows = next(iter(tables.values())) if heading is None else tables.get(heading, [])
    found = [row for row in rows if all(row.get(column) == value for column, value in wanted.items())]
    if not found:
        raise ValueError(f"benchmarks/{page}.md: found no row with {wanted or heading}, which README or docs/ speak of.")
    return found


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns after the first flush right where they hold numbers."""
    rows = [list(row) for row in rows]
    flush = [all(row[i][:1].isdigit() for row in rows) for i in range(len(header))]
    lines = [list(header), ["---:" if right else "---" for right in flush], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pick(rows: Sequence[Row], columns: dict[str, str]) -> str:
    """A table of some columns of rows, under other names."""
    return make_table(list(columns.values()), ([row[column] for column in columns] for row in rows))


def describe_processor(cell: str) -> str:
    """A processor in words, from its name and its instructions for narrow numbers."""
    name, _, instructions = cell.partition(";")
    name = name.replace("(R)", "").removesuffix(" Processor")
    return f"{name} with {'AMX' if 'amx' in instructions else 'bfloat16' if 'bf16' in instructions else 'AVX2'}"


def processor(page: str) -> str:
    """The processor on which a page was measured."""
    (row,) = find_rows(page, machine="processor")
    return describe_processor(row[""])


def by_clock() -> str:
    """Accuracy of the defaults by minutes."""
    rows = [
        {
            "processor": describe_processor(row["processor"]),
            "set": row["set"].replace("_", " "),
            "time": row["time"].replace("m", " minutes"),
        }
        | {name: row[name] for name in ("seeds", "box AP", "AP50", "keypoint AP")}
        for row in find_rows("ACCURACY", variant="defaults")
    ]
    return pick(rows, {name: name for name in rows[0]})


def by_steps() -> str:
    """What the start on drawn objects gives in as many steps on each set."""
    rows = [row | {"set": row["set"].replace("_", " ")} for row in find_rows("STARTS", backbone=LIGHT)]
    columns = ("set", "minutes", "steps", "start", "box AP", "box AP50", "keypoint AP")
    return pick(rows, dict(zip(columns, columns, strict=True)))


def peers(size: str) -> str:
    """The light networks beside Ultralytics' smallest, in OpenVINO."""
    columns = {"": "network", "weights": "weights", "fp32": "fp32", "int8": "int8"}
    return pick(find_rows("PEERS", f"Beside other networks at {size}x{size}"), columns)


def peer_ratio(size: str, precision: str) -> str:
    """Times of the light network, of those of the fastest of Ultralytics' smallest."""
    text = (ROOT / "benchmarks" / "PEERS.md").read_text(encoding="utf-8").partition(f" at {size}x{size}")[2]
    # By its place: two columns of this table have the same name.
    return split_row(re.search(rf"^\| {LIGHT} \|.*$", text, re.MULTILINE)[0])[{"fp32": 4, "int8": 8}[precision]]


def latency() -> str:
    """Time of one image by network and way of running it."""
    ways = ("Keras", "ONNX Runtime fp32", "OpenVINO fp32", "OpenVINO bf16", "OpenVINO int8")
    rows = []
    for heading, table in read_tables("LATENCY").items():
        times = {row.get(""): row.get("one image") for row in table}
        if " at " in heading and "--stacks" not in heading and times.get("Keras"):
            rows.append([f"`{heading.partition(' ')[0]}`", *(times.get(way) or "" for way in ways)])
    return make_table(["at 512 pixels", *ways], rows)


def times_as_fast(way: str) -> str:
    """How many times as fast as in Keras hourglass_104 runs in OpenVINO, a whole number."""
    (row,) = find_rows("LATENCY", "hourglass_104 at 512x512", **{"": way})
    return f"{float(row['times as fast']):.0f}"


def next_pictures() -> str:
    """Pictures that a model chose to be labelled beside as many at random, means over the seeds."""
    names = {"first 30": "30", "30 at random": "60, 30 of them at random", "30 chosen": "60, 30 of them chosen"}
    lines = []
    for which, name in names.items():
        rows = find_rows("NEXT", pictures=which)
        objects = statistics.mean(int(row["objects"]) for row in rows)
        scores = (statistics.mean(float(row[score]) for row in rows) for score in ("box AP", "keypoint AP", "PCK@0.1"))
        lines.append([name, f"{objects:.0f}", *(f"{score:.3f}" for score in scores)])
    return make_table(["pictures", "objects", "box AP", "keypoint AP", "PCK@0.1"], lines)


def next_seeds() -> str:
    """How much better than by chance pictures were chosen, keypoint AP by seed."""
    scores = (
        [float(row["keypoint AP"]) for row in find_rows("NEXT", pictures=which)] for which in ("30 chosen", "30 at random")
    )
    return ", ".join(f"{chosen - random:+.2f}" for chosen, random in zip(*scores, strict=True))


def copy(page: str, heading: str | None = None, leave_out: Sequence[str] = ()) -> str:
    """A table of a page as it is, or without some columns."""
    rows = find_rows(page, heading)
    return pick(rows, {name: name for name in rows[0] if name not in leave_out})


def demo(command: str, column: str) -> str:
    """A number of the demonstration."""
    (row,) = find_rows("DEMO", command=f"`{command}`")
    return row[column]


def formats() -> str:
    """What can be exported, in which precisions."""
    from centerkp.export.formats import FORMATS

    letterboxed = "letterboxed RGB uint8 of the model's size, and the size of the picture inside"
    rows = (
        [
            f"`{name}`",
            ", ".join(one.precisions),
            *(("RGB uint8 of any size", "any, or 1") if one.any_batch else (letterboxed, "1")),
        ]
        for name, one in FORMATS.items()
    )
    return make_table(["format", "precisions", "takes", "batch"], rows)


def commands() -> str:
    """Every command with its arguments."""
    (children,) = [action for action in build_parser()._actions if isinstance(action.choices, dict)]
    return "\n\n".join(_describe_command(name.replace("_", "-"), children.choices[name.replace("_", "-")]) for name in COMMANDS)


def _describe_command(name: str, parser: argparse.ArgumentParser) -> str:
    text = import_module(f"centerkp.cli.{name.replace('-', '_')}").HELP
    parts = [f"## centerkp {name}\n\n{text[0].upper()}{text[1:]}."]
    for group in parser._action_groups:
        rows = [[_name_action(action), _escape(action.help % vars(action) if "%(" in action.help else action.help)]
                for action in group._group_actions if action.help and action.dest != "help"]  # fmt: skip
        if rows:
            title = group.title if group.title not in ("positional arguments", "options") else ""
            parts += [f"**{title[0].upper()}{title[1:]}**"] if title else []
            parts.append(make_table(["argument", "meaning"], rows))
    return "\n\n".join(parts)


def _name_action(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = "" if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction) else f" {action.metavar or 'VALUE'}"
    value = f" {'|'.join(map(str, action.choices))}" if action.choices and not action.metavar else value
    return f"`{', '.join(action.option_strings)}{value}`".replace("|", "\\|")


def _escape(text: str) -> str:
    return re.sub(r"([|*<\\])", r"\\\1", text.replace("%%", "%").replace("\n", " "))


CLAIMS: dict[str, Callable[[], str]] = {
    "by-clock": by_clock,
    "by-steps": by_steps,
    "peers-320": lambda: peers("320"),
    "peers-512": lambda: peers("512"),
    "light-fp32": lambda: peer_ratio("320", "fp32"),
    "light-int8": lambda: peer_ratio("320", "int8"),
    "latency": latency,
    "latency-processor": lambda: processor("LATENCY"),
    "training-processor": lambda: processor("TRAINING"),
    "peers-processor": lambda: processor("PEERS"),
    "openvino-bf16": lambda: times_as_fast("OpenVINO bf16"),
    "openvino-int8": lambda: times_as_fast("OpenVINO int8"),
    "next": next_pictures,
    "next-seeds": next_seeds,
    "review": lambda: copy("REVIEW", leave_out=("copies", "at 1x", "at 3x")),
    "tiles": lambda: copy("TILES"),
    "bulk": lambda: copy("BULK", leave_out=("round", "infer took", "bulk took")),
    "tta": lambda: copy("TTA"),
    "boxes": lambda: copy("BOXES"),
    "pictures": lambda: copy("PICTURES"),
    "sizes": lambda: copy("SIZES", leave_out=("half", "seed", "PCK")),
    "once": lambda: copy("ONCE"),
    "serve": lambda: copy("SERVE", leave_out=("round", "infer, images/s", "95 % within")),
    "serve-answers": lambda: copy("SERVE", "Answers", leave_out=("objects", "largest difference", "in score", "exit code")),
    "throughput": lambda: copy("THROUGHPUT", leave_out=("range", "at the end")),
    "demo-steps": lambda: demo("centerkp demo", "steps"),
    "demo-box": lambda: demo("centerkp demo", "box AP"),
    "demo-box50": lambda: demo("centerkp demo", "AP50"),
    "demo-keypoint": lambda: demo("centerkp demo", "keypoint AP"),
    "demo-pck": lambda: demo("centerkp demo", "PCK@0.1"),
    "demo": lambda: copy("DEMO"),
    "formats": formats,
    "commands": commands,
}  # fmt: skip


def list_pages() -> list[Path]:
    """README and the pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def fill(text: str) -> str:
    """A page with all that it claims as it is now."""

    def replace(mark: re.Match) -> str:
        if mark[2] not in CLAIMS:
            raise ValueError(f"claim '{mark[2]}': there is no such claim, there are {sorted(CLAIMS)}.")
        value = CLAIMS[mark[2]]()
        return mark[1] + (f"\n\n{value}\n\n" if "\n" in value else value) + mark[4]

    return MARK.sub(replace, text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and end with exit code 1 where something changed")
    options = parser.parse_args(arguments)
    changed = []
    for page in list_pages():
        text = page.read_text(encoding="utf-8")
        if fill(text) != text:
            changed.append(page.relative_to(ROOT).as_posix())
            if not options.check:
                page.write_text(fill(text), encoding="utf-8")
    print(f"{'out of date' if options.check else 'written'}: {', '.join(changed) or 'none'}")
    return int(bool(changed) and options.check)


if __name__ == "__main__":
    sys.exit(main())
