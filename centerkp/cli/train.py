"""`centerkp train`."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from centerkp.cli.repeated import Join
from centerkp.settings.paths import DATA_PATHS
from centerkp.settings.training import TrainSettings

LENGTH = ("epochs", "time")  # settings by which a run that has ended is prolonged
MACHINE = ("threads", "devices", "hosts", "num_hosts", "host_id")  # those that may be others wherever a run goes on
HELP = "train a detector on a COCO JSON"
HEAD = """Train a detector on a COCO JSON. Most runs need no more than some of these:

  --coco JSON          your annotations, all that has to be given; repeatable
  --images DIR         their images, where they are not found beside the JSON
  --val JSON           other ones to validate on; else a fifth is kept back
  --run DIR            where the run goes; else to runs/NAME-OF-THE-JSON
  --time 30m           how long it may take in all; else what suits the data
  --backbone NAME      the network; else the large one on a GPU, or a light one
  --weights FILE       a model of yours to start from; else a trained one
  --image-size PIXELS  more for small objects, less to be done sooner
  --batch-size N       less where the memory does not suffice
  --resume RUN         go on with a run that was interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp train`."""
    parser.usage, parser.description = "centerkp train --coco JSON [options]", HEAD
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="continue the interrupted run in this folder; its settings hold, --coco, --images and the like name moved data; "
        "one that has ended goes on to --epochs 200 or for --time 20m: its learning rate warms up again",
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> None:
    """The command `centerkp train`: trains a model on a dataset."""
    from centerkp.training.run_folder import RunFolder

    if options.resume:
        given, folder = _list_given(options), RunFolder(options.resume)
        saved = folder.read_settings()
        ignored = sorted({*given, *["settings"] * bool(options.settings)} - {*LENGTH, *MACHINE, "save_every", *DATA_PATHS})
        if ignored:
            raise ValueError(
                f"--resume: found {ignored} beside it, expected none but --epochs, --time, --save-every, --threads, --devices, "
                "--hosts and where the data are now; a run keeps its settings, for others start a new one with --weights "
                f"{folder.best}."
            )
        prolongs = not given.keys().isdisjoint(LENGTH)
        former = dict.fromkeys(LENGTH if prolongs else ())
        if given.get("time") and not saved.time and isinstance(saved.eval_every, int):
            former["eval_every"] = None  # it suited the epochs
        settings = TrainSettings.from_dict(saved.to_dict() | former | given)
        _train(settings, options, prolongs)
    else:
        _train(read_settings(options), options)


def _list_given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags of `centerkp train` name."""
    return {one.name: getattr(options, one.name) for one in fields(TrainSettings) if hasattr(options, one.name)}


def read_settings(options: argparse.Namespace) -> TrainSettings:
    """The settings of a new training: those of its flags, and of the file of --settings where there are none."""
    given = _list_given(options)
    if options.settings:
        # A run writes down the epochs and evaluations that suited its own length.
        length = dict.fromkeys(("epochs", "eval_every") if "time" in given else ())
        given = TrainSettings.read(options.settings).to_dict() | {"run": None} | length | given
    if not given.get("coco") and not given.get("tfrecord"):
        raise ValueError(
            "train: found no --coco; give the COCO JSON of your annotations, as in --coco ann.json, or TFRecords, as in "
            "--tfrecord 'train.record-?????-of-00010'."
        )
    return TrainSettings.from_dict(given)


def _train(settings: TrainSettings, options: argparse.Namespace, prolongs: bool = False) -> None:
    """Trains or resumes one model, or one for each fold."""
    from centerkp.training.train import train
    from centerkp.trials.folds import cross_validate

    if not settings.folds or settings.fold:
        train(settings, resume=options.resume, prolongs=prolongs, started=options.started)
        return
    if prolongs:
        raise ValueError(
            f"--resume {options.resume}: found folds, expected one model beside --epochs and --time; prolong them one by one, "
            f"as with --resume {Path(options.resume) / 'fold_1'}, or start a new run."
        )
    cross_validate(settings, resume=options.resume, started=options.started)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """A flag of `centerkp train` per field of the settings; one not given stays out, and the value of --settings can hold."""
    parser.add_argument("--settings", metavar="FILE", help="settings.json of another run to start from; flags win over it")
    names = dict.fromkeys(one.metadata["group"] for one in fields(TrainSettings))
    groups = {name: parser.add_argument_group(name) for name in names}
    for one in fields(TrainSettings):
        group = groups[one.metadata["group"]]
        flag = "--" + one.name.replace("_", "-")
        default = ",".join(map(str, one.default)) if isinstance(one.default, tuple) else one.default
        text = one.metadata["help"].replace("%", "%%") + ("" if default in (None, "") else f" (default: {default})")
        common = {"dest": one.name, "default": argparse.SUPPRESS, "help": text}
        if one.type is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
            continue
        kinds = get_args(one.type) if isinstance(one.type, UnionType) else (one.type,)
        kind = str if str in kinds else kinds[0]  # the digits of a number become one where the settings are made
        convert = _read_range if isinstance(one.default, tuple) else _read_words(one.metadata["words"], kind)
        choices = one.metadata["choices"] or None
        metavar = None if choices else one.metadata["name"] or ("N" if kind is int else "X")
        if one.metadata["alone"]:
            common |= {"nargs": "?", "const": one.metadata["alone"]}
        if any(get_origin(one) is Sequence for one in kinds):
            common["action"] = "append"
        elif one.metadata["repeat"]:
            common["action"] = Join
        group.add_argument(flag, type=convert, choices=choices, metavar=metavar, **common)


def _read_words(words: Mapping, kind: Any) -> Callable[[str], Any]:
    """What reads the value of a flag of `centerkp train` that may be a word, as in --batch-size auto."""

    def number(text: str) -> Any:
        return words[text] if text in words else kind(text)

    return number if words else kind


def _read_range(text: str) -> tuple[float, float]:
    """The two numbers of a flag of `centerkp train` such as --scale 0.7,1.3."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"found '{text}', expected two numbers, as 0.7,1.3") from None
    return low, high
