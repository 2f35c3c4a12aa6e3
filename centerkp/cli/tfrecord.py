"""`centerkp tfrecord`."""

import argparse

HELP = "write a COCO dataset as TFRecords of the Object Detection API"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp tfrecord`."""
    parser.add_argument("action", choices=("write",), help="what to do")
    parser.add_argument("coco", metavar="JSON", help="COCO JSON to read")
    parser.add_argument(
        "out", metavar="OUT", help="file to write, or a pattern in quotes: 'train.record-?????-of-00010' makes ten of them"
    )
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: found beside the JSON)")
    parser.add_argument("--label-map", metavar="PBTXT", help="write the label map as well")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp tfrecord`: writes a dataset as TFRecords."""
    from centerkp.cli.commands import print_notes
    from centerkp.cli.label_map import print_label_map
    from centerkp.console import make_console
    from centerkp.doctor.trainable import read_dataset
    from centerkp.tfrecord.writer import check_shards, write_tfrecords
    from centerkp.wording import count_of

    reads = [options.coco, options.label_map] if options.label_map else [options.coco]
    check_shards(options.out, reads, options.overwrite)  # before the images are read, which may take long
    console = make_console()
    dataset = read_dataset(options.coco, images_dir=options.images)
    print_notes(console, dataset.notes)
    check_shards(options.out, dataset.reads, options.overwrite)
    if options.label_map:
        print_label_map(dataset.schema, options.label_map, options.coco, dataset.reads, options.overwrite, console)
    files, converted = write_tfrecords(options.out, dataset.records, dataset.schema, overwrite=options.overwrite)
    if converted:
        text = f"  {converted} of {len(dataset.records)} images stored as PNG, since not every program reads them as they are"
        console.print(text, style="yellow")
    count = sum(len(record.class_ids) for record in dataset.records)
    console.print(f"{len(dataset.records)} images with {count} objects in {count_of(len(files), 'file')}:")
    for file in dict.fromkeys((files[0], files[-1])):
        console.print(f"  {file}", soft_wrap=True)
