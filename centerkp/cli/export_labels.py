"""`centerkp export-labels`."""

import argparse

HELP = "write labels and images as a YOLO-pose dataset"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp export-labels`."""
    parser.add_argument("coco", metavar="JSON", help="COCO JSON, or labels of another tool, for training")
    parser.add_argument("out", metavar="DIR", help="folder to write, which must not be there: data.yaml, images/, labels/")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: found beside the JSON)")
    parser.add_argument("--val", metavar="JSON", help="labels for validation")
    parser.add_argument("--val-images", metavar="DIR", help="folder of the validation images (default: found beside the JSON)")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp export-labels`: writes a YOLO-pose dataset."""
    from centerkp.cli.commands import print_notes
    from centerkp.console import make_console
    from centerkp.doctor.trainable import read_dataset
    from centerkp.labels.yolo_pose import write_yolo
    from centerkp.wording import count_of

    parts = {"train": read_dataset(options.coco, images_dir=options.images)}
    if options.val:
        parts["val"] = read_dataset(options.val, images_dir=options.val_images, schema=parts["train"].schema)
    console = make_console()
    for part, dataset in parts.items():
        console.print(f"{part}: {count_of(len(dataset.records), 'image')}")
        print_notes(console, dataset.notes)
    notes = write_yolo(options.out, {part: dataset.records for part, dataset in parts.items()}, parts["train"].schema)
    print_notes(console, notes)
    console.print(f"written: {options.out}/data.yaml", soft_wrap=True)
