"""`centerkp show`."""

import argparse
from pathlib import Path

from centerkp.cli.size_argument import add_size_argument

HELP = "draw annotated images, augmented ones, or the network's targets"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp show`."""
    parser.add_argument("coco", metavar="JSON", help="COCO JSON with the annotations")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: found beside the JSON)")
    parser.add_argument("--augment", action="store_true", help="as training sees them: moved, turned, mirrored, recoloured")
    parser.add_argument("--augmentation", metavar="FILE", help="with this Albumentations pipeline in place of the colours")
    parser.add_argument("--targets", action="store_true", help="beside each image the maps that the network is to learn")
    parser.add_argument("--count", type=int, metavar="N", help="images to draw (default: 12; 4 with --targets)")
    add_size_argument(parser, 512)
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other images (default: 0)")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="of the whole picture (default: 480 for each image)")
    parser.add_argument("--out", metavar="FILE", help="picture to write (default: NAME_show.png in this folder)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name that no earlier show wrote")
    parser.add_argument(
        "--check-images",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="decode every image once, to leave out unreadable ones and notice other sizes than the JSON says (default: yes)",
    )


def run(options: argparse.Namespace) -> None:
    """The command `centerkp show`: draws the labels of a dataset."""
    from centerkp.cli.commands import print_notes
    from centerkp.console import import_quietly, make_console
    from centerkp.doctor.trainable import read_dataset
    from centerkp.drawing.mosaic import choose_records, draw_records, draw_samples
    from centerkp.images.saving import write_image
    from centerkp.samples.augment import Augmentation, read_compose
    from centerkp.wording import count_of, name_canvas
    from centerkp.writing import WriteGuard, mark, says

    count = options.count or (4 if options.targets else 12)
    size = options.image_size
    if count < 1 or any(side < 32 or side % 4 for side in size):
        raise ValueError(
            f"show: found --count {count} and --image-size {name_canvas(*size)}, expected 1 or more images of a size that is "
            "a multiple of 4 and at least 32."
        )
    if options.targets:
        import_quietly("keras")
    out = options.out or f"{Path(options.coco).stem}_show.png"
    reads = [path for path in (options.coco, options.augmentation) if path]

    def check_output(*found: Path) -> None:
        WriteGuard([*reads, *found], options.overwrite).check([out], lambda path: says(path, mark("show")))

    check_output()
    dataset = read_dataset(options.coco, images_dir=options.images, check_images=options.check_images)
    console = make_console()
    print_notes(console, dataset.notes)
    check_output(*dataset.reads)
    records = choose_records(dataset.records, count, options.seed)
    if options.augment or options.augmentation or options.targets:
        augmentation = None
        if options.augment or options.augmentation:
            custom = read_compose(options.augmentation) if options.augmentation else None
            augmentation = Augmentation(custom=custom)
            records = [records[i % len(records)] for i in range(count)]
        picture = draw_samples(
            records, dataset.schema, size, augmentation, options.seed, targets=options.targets, width=options.width
        )
    else:
        picture = draw_records(records, dataset.schema, options.width)
    file = write_image(out, picture, "show")
    console.print(f"{count_of(len(records), 'image')}: {file}", soft_wrap=True)
