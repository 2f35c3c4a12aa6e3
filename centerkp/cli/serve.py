"""`centerkp serve`."""

import argparse
import os
from pathlib import Path

from centerkp.cli.runtime_argument import add_runtime_argument, choose_for_use
from centerkp.cli.size_argument import add_size_argument

HELP = "show what a model finds on a web page of this machine, and answer programs in JSON"
NEEDS_KERAS = False  # where an exported model computes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp serve`."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a .keras file, a run's folder, or an exported model (default: the newest run in runs/)",
    )
    model = parser.add_argument_group("model")
    add_size_argument(model)
    add_runtime_argument(model)
    model.add_argument("--device", help="cpu, gpu, gpu:1, ... (default: the backend's choice)")
    model.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"), help="number format of the network"
    )
    model.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step, at most (default: 8)")
    model.add_argument(
        "--score", type=float, metavar="X", help="least score of an object (default: those stored with the model, else 0.3)"
    )
    place = parser.add_argument_group("place")
    place.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="which of this machine's addresses to listen at; 0.0.0.0 for all, so that others reach it (default: 127.0.0.1)",
    )
    place.add_argument("--port", type=int, default=8000, metavar="N", help="0 for any that is free (default: 8000)")
    place.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name by which browsers reach this machine"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-megabytes", type=float, default=64, metavar="N", help="of a request (default: 64)")
    limits.add_argument("--max-megapixels", type=float, default=64, metavar="N", help="of a picture (default: 64)")
    limits.add_argument("--max-pictures", type=int, default=64, metavar="N", help="in a request (default: 64)")
    limits.add_argument("--max-waiting", type=int, default=128, metavar="N", help="requests at the same time (default: 128)")


def run(options: argparse.Namespace) -> int | None:
    """The command `centerkp serve`: answers requests until it is told to end."""
    from centerkp.console import import_extra, make_console

    for package in ("uvicorn", "starlette", "python_multipart"):
        import_extra(package, "serve")
    from centerkp.inference.model_loading import find_newest_model, load_for_use
    from centerkp.serving.limits import Limits
    from centerkp.serving.server import describe_address, is_local, open_socket, serve

    console = make_console()
    limits = Limits(options.max_megabytes, options.max_megapixels, options.max_pictures, options.max_waiting)
    path = options.model or find_newest_model(flag="")
    with open_socket(options.host, options.port) as listening:  # before the network is loaded, which takes seconds
        if not is_local(options.host):
            console.print(
                f"Whoever reaches {describe_address(listening)} can use the model: there is no password, and pictures travel "
                "unencrypted. Leave out --host to keep it to this machine.",
                style="yellow",
            )
        detector = load_for_use(
            choose_for_use(options, path, None, console),
            image_size=options.image_size,
            device=options.device,
            precision=options.precision,
            console=console,
        )
        serve(
            detector,
            _name_model(path),
            listening,
            batch_size=options.batch_size,
            min_score=options.score,
            limits=limits,
            hosts=[options.host, *options.allow_host],
            console=console,
        )
    return None


def _name_model(path: str | Path) -> str:
    """What a model is called: its path's last two parts, since best.keras alone says little; of "." the folder's."""
    name = "/".join(Path(path).parts[-2:])
    return os.path.basename(os.path.realpath(path)) if name.rpartition("/")[2] in ("", ".", "..") else name
