"""`centerkp demo`: the main job on an embedded default."""

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from centerkp.console import make_console
from centerkp.settings.training import TrainSettings

HELP = "draw a dataset, train on it, evaluate and predict"
# The defaults, at a size that learns much in few minutes on two processor cores.
SETTINGS = TrainSettings(image_size="256x192", eval_every=10)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp demo`."""
    parser.add_argument("--data", default="data/demo", metavar="DIR", help="where the dataset is drawn (default: data/demo)")
    parser.add_argument("--run", default=None, metavar="DIR", help="run folder (default: runs/demo, numbered)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--time", default="7m20s", help="what training may take (default: 7m20s)")
    length.add_argument("--epochs", type=int, default=None, help="times to go through the images, in place of a time")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp demo`: draws a dataset, trains on it, evaluates and predicts."""
    run_demo(Path(options.data), options.run, options.epochs, options.time)


def run_demo(data: Path, run_folder: str | None, epochs: int | None, time: str, console: Console | None = None) -> None:
    """Does all that `centerkp demo` does: draws its dataset into `data` unless it is there, trains, evaluates and predicts.

    Training takes so many `epochs`, or as long as `time` says without them.
    """
    from centerkp.demo.scenes import write_demo
    from centerkp.inference.sources import find_sources
    from centerkp.inference.stream import predict_sources
    from centerkp.model.center_net import load_model
    from centerkp.training.run_folder import free_folder
    from centerkp.training.train import train

    console = console or make_console()
    files = write_demo(data)
    console.print(f"demonstration dataset: {data}")
    settings = replace(
        SETTINGS,
        coco=str(files.train_json),
        val=str(files.val_json),
        run=run_folder or str(free_folder(Path("runs/demo"))),
        epochs=epochs,
        time=None if epochs else time,
    )
    folder = train(settings, console=console).folder
    held_out = sorted(files.images_dir.glob("test_*.jpg"))
    console.print(f"\n{len(held_out)} images that training never saw:")
    predict_sources(load_model(folder.best), find_sources(held_out), folder.path / "held_out", console=console)
