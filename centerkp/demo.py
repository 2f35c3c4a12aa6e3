"""The main job on an embedded default: draw a dataset, train on it, evaluate, and predict on held-out images."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from centerkp.config import TrainSettings
from centerkp.console import make_console
from centerkp.data.demo import write_demo
from centerkp.model.center_net import load_model
from centerkp.predicting import predict_sources
from centerkp.run_folder import free_folder
from centerkp.sources import find_sources
from centerkp.training import train

# What fits into ten minutes on two processor cores.
SETTINGS = TrainSettings(backbone="hourglass_10", image_size=256, batch_size=4, learning_rate=2e-3, ema=0.998, eval_every=10)


def run(data: Path, run_folder: str | None, epochs: int, console: Console | None = None) -> None:
    """Draws the demonstration dataset into `data` (kept if it is already there), and does everything a user would."""
    console = console or make_console()
    files = write_demo(data)
    console.print(f"demonstration dataset: {data}")
    settings = replace(
        SETTINGS,
        coco=str(files.train_json),
        val=str(files.val_json),
        run=run_folder or str(free_folder(Path("runs/demo"))),
        epochs=epochs,
    )
    folder = train(settings, console=console).folder
    held_out = sorted(files.images_dir.glob("test_*.jpg"))
    console.print(f"\n{len(held_out)} images that training never saw:")
    predict_sources(load_model(folder.best), find_sources(held_out), folder.path / "held_out", console=console)
