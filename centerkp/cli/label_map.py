"""`centerkp label-map`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from centerkp.schema import Schema

HELP = "write the label map of a COCO dataset, with its keypoints"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp label-map`."""
    parser.add_argument("coco", metavar="JSON", help="COCO JSON to read")
    parser.add_argument("out", nargs="?", default="label_map.pbtxt", metavar="OUT", help="file to write (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp label-map`: writes label_map.pbtxt."""
    from centerkp.console import make_console
    from centerkp.labels.joining import open_label_files
    from centerkp.labels.label_file import schema_of

    source = open_label_files(options.coco)
    schema = schema_of(source.path, source.content)
    print_label_map(schema, options.out, options.coco, source.files, options.overwrite, make_console())


def print_label_map(schema: "Schema", out: str, coco: str, reads: Sequence[Path], overwrite: bool, console: "Console") -> None:
    """What `centerkp label-map` does: writes the label map and says what it holds, and what it cannot hold."""
    from centerkp.formats.label_map import label_ids, write_label_map
    from centerkp.wording import count_of

    write_label_map(out, schema, reads=reads, overwrite=overwrite)
    text = f"{out}: {count_of(schema.num_classes, 'class')}, {schema.num_keypoints} keypoints"
    console.print(text, soft_wrap=True)
    if label_ids(schema) != [kind.category_id for kind in schema.classes]:
        console.print("  classes numbered from 1, since label maps know no id 0", style="yellow")
    if any("json" in (kind.flip_source, kind.sigma_source) or kind.skeleton for kind in schema.classes):
        text = "  it has no skeletons, flip pairs and OKS sigmas; to keep them, train with"
        console.print(text, style="yellow")
        console.print(f"    --label-map {quote(coco)}", soft_wrap=True)
