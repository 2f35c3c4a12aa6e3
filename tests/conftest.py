"""The one large model of the suite, made once and by the whole way that a user's `--weights coco` goes; no test is timed."""

from dataclasses import dataclass
from pathlib import Path

import checkpoints
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or its making, says how busy the machine is and nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ARCHIVE = "centernet_hg104_512x512_kpts_coco17_tpu-32.tar.gz"


@dataclass
class Route:
    """What `--weights coco` left behind: the model, the folder `weights`, what was printed, what the server was asked for."""

    model: object
    folder: Path
    text: str
    requests: list


@pytest.fixture(scope="session")
def hg104_route(tmp_path_factory):
    """The recipe's weights as a checkpoint, packed like the zoo's archive, served over HTTP, fetched, ported and loaded."""
    from rich.console import Console

    from centerkp.weights.start import load_weights

    root = tmp_path_factory.mktemp("hg104")
    console = Console(record=True, width=200)
    with pytest.MonkeyPatch.context() as patch:
        source = root / "source"
        checkpoints.write_checkpoint(source / "checkpoint" / "ckpt-0", checkpoints.make_variables(checkpoints.hg104_shapes()))
        # Stored, not compressed: random numbers hardly get smaller, and packing them would take minutes.
        archive = checkpoints.pack(source, root / ARCHIVE, level=0)
        for file in (source / "checkpoint").iterdir():
            file.unlink()
        patch.chdir(root)
        with checkpoints.serve({ARCHIVE: archive}) as server:
            patch.setenv("CENTERKP_WEIGHTS_URL", server.address(ARCHIVE))
            load_weights("coco", console=console)
        archive.unlink()
        model = load_weights("coco", console=console)  # from now on without a network
    return Route(model, root / "weights", console.export_text(), server.seen)


@pytest.fixture(scope="session")
def hg104(hg104_route):
    return hg104_route.model
