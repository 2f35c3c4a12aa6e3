"""`centerkp review`."""

import argparse
from pathlib import Path

from centerkp.writing import WriteGuard, mark, says

HELP = "find labels that are probably wrong, by what a model sees"
NEEDS_KERAS = False  # to correct; a model brings it
TOLD = 10  # suspects on the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp review`."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="the folder of a run with --folds, whose predictions are those of models that have not seen the image; or a "
        ".keras file, an exported model, or a .json file of predictions. A model that was trained on these labels vouches for "
        "them",
    )
    parser.add_argument("--coco", required=True, metavar="JSON", help="the labels to review; the file stays as it is")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: beside the JSON, or its images folder)")
    parser.add_argument(
        "--out", default="review", metavar="DIR", help="folder for report.html and suspects.json (default: review)"
    )
    parser.add_argument(
        "--score", type=float, default=0.25, metavar="X", help="least score, 0 to 1, of a suspect that is told (default: 0.25)"
    )
    parser.add_argument("--tta", metavar="flip,scale", help="detect in mirrored or scaled copies, too, and join what is found")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step (default: 8)")
    parser.add_argument(
        "--check-images", action=argparse.BooleanOptionalAction, default=True, help="decode every image before the start"
    )
    parser.add_argument(
        "--accept",
        metavar="SUSPECTS.json",
        help='in place of a review: correct the labels that have "accept": true in the suspects.json of an earlier one',
    )
    parser.add_argument("--fix", metavar="OUT.json", help="with --accept: the corrected copy")
    parser.add_argument("--overwrite", action="store_true", help="replace files of these names, also a suspects.json")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp review`: finds probably wrong labels, or corrects those that the user has accepted."""
    if bool(options.accept) != bool(options.fix):
        raise ValueError("--accept and --fix: found one without the other, expected both or none; name a file for each.")
    if bool(options.model) == bool(options.accept):
        raise ValueError(
            f"review: found {'a model and --accept' if options.model else 'no model'}, expected a model to review by, or "
            "--accept SUSPECTS.json to correct by; give one of them."
        )
    if not 0 <= options.score <= 1:
        raise ValueError(f"--score: found {options.score:g}, expected a number from 0 to 1; try 0.25.")
    if options.accept:
        _correct(options)
    else:
        _review(options)


def _correct(options: argparse.Namespace) -> None:
    """Corrects labels by the suspects that the user accepted after a review."""
    from centerkp.console import make_console
    from centerkp.review.corrections import apply_accepted
    from centerkp.review.suspects import KINDS
    from centerkp.wording import count_of

    places = {"images_dir": options.images, "overwrite": options.overwrite}
    counts = apply_accepted(options.coco, options.accept, options.fix, **places)
    console = make_console()
    for kind, count in counts.items():
        console.print(f"{count_of(count, 'label')} corrected: {KINDS[kind]}")
    console.print(f"written: {options.fix}", soft_wrap=True)


def _review(options: argparse.Namespace) -> None:
    """Reviews labels: finds the suspects and writes them."""
    from centerkp.console import import_quietly, make_console

    out = Path(options.out)
    paths = (out / "report.html", out / "suspects.json")

    def check_outputs(*found: Path) -> None:
        guard = WriteGuard([options.coco, options.model, *found], options.overwrite)
        guard.check(paths, lambda path: path.suffix == ".html" and says(path, mark("review")))

    check_outputs()
    import_quietly("keras")
    from centerkp.cli.commands import print_notes
    from centerkp.review.corrections import write_suspects
    from centerkp.review.judged import judge_labels
    from centerkp.review.review_page import describe_suspect, write_review_page
    from centerkp.review.suspects import find_suspects
    from centerkp.wording import count_of

    console = make_console()
    judged = judge_labels(
        options.model,
        options.coco,
        images_dir=options.images,
        tta=options.tta,
        batch_size=options.batch_size,
        check_images=options.check_images,
        console=console,
    )
    dataset = judged.dataset
    check_outputs(*dataset.reads)
    suspects = find_suspects(dataset.records, judged.detections, dataset.schema, options.score)
    write_suspects(paths[1], options.coco, suspects, dataset.records, dataset.schema, options.images)
    write_review_page(judged, suspects, paths[1], paths[0])
    print_notes(console, [judged.witness, *judged.notes])
    console.print(f"{count_of(len(suspects), 'suspect')} in {count_of(len(dataset.records), 'image')}")
    for suspect in suspects[:TOLD]:
        console.print(f"  {describe_suspect(suspect, dataset.records[suspect.row])}", soft_wrap=True)
    for path in paths:
        console.print(f"written: {path}", soft_wrap=True)
