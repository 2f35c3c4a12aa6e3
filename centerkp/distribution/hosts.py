"""Which processes train together: by flags, by the variables of Keras, or by what SLURM tells each of its tasks."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from centerkp.settings.training import TrainSettings

KERAS_VARIABLES = tuple(f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))
# Those by which JAX finds the other tasks of a step; a script of sbatch that has not called srun has not all of them.
SLURM_VARIABLES = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
PATIENCE = 300  # seconds until all processes must have been started
FAREWELL = 20  # seconds in which all processes have to end together


@dataclass(frozen=True)
class Hosts:
    """The processes that train together, and which of them this one is.

    Args:
        address: of process 0, host:port.
    """

    address: str
    count: int
    index: int

    @property
    def machine(self) -> str:
        """Name or address of the machine of process 0, as the others reach it."""
        return self.address.rsplit(":", 1)[0]

    def connect(self) -> None:
        """Joins the processes with JAX; waits until all are there.

        Raises:
            ValueError: some do not come.
        """
        import jax

        if jax.distributed.is_initialized():
            return
        # It would take SIGTERM, after which a run saves what it has.
        jax.config.update("jax_enable_preemption_service", False)
        address = self._open_relay() if self.index else self.address
        try:
            jax.distributed.initialize(
                address, self.count, self.index, initialization_timeout=PATIENCE, shutdown_timeout_seconds=FAREWELL
            )
        except RuntimeError as error:
            raise ValueError(
                f"hosts: found {self.address} not answering as process 0 of {self.count} ({error}), "
                f"expected all within {PATIENCE} s; start every process, with the same address and a --host-id of its own."
            ) from error

    def _open_relay(self) -> str:
        """The address at which the program of `relay`, started here and ended with this process, stands for process 0."""
        command = [sys.executable, "-IS", str(Path(__file__).with_name("relay.py")), *self.address.rsplit(":", 1)]
        pipe = subprocess.PIPE
        relay = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True, text=True)
        _RELAYS.append(relay)
        return f"127.0.0.1:{int(relay.stdout.readline())}"


_RELAYS: list[subprocess.Popen] = []  # so that their stdin stays open


def require_one_process(settings: TrainSettings, what: str) -> None:
    """Raises ValueError where several processes are to do what one alone can."""
    if hosts := find_hosts(settings):
        raise ValueError(
            f"{what}: found {hosts.count} processes, expected one; start one alone, with --devices all if you like."
        )


def find_hosts(settings: TrainSettings, environ: Mapping[str, str] = os.environ) -> Hosts | None:
    """The processes that this one trains with, by the settings, else Keras's variables, else SLURM's; None for one alone.

    Raises:
        ValueError: some of Keras's variables are missing, or are no numbers; or the backend is not JAX.
    """
    found = None
    if settings.hosts:
        found = Hosts(settings.hosts.split(",")[0], settings.num_hosts, settings.host_id)
    elif any(name in environ for name in KERAS_VARIABLES):
        try:
            address, count, index = (environ[name] for name in KERAS_VARIABLES)
            found = Hosts(address.split(",")[0], int(count), int(index))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"KERAS_DISTRIBUTION_...: found {error} missing or no number, expected {', '.join(KERAS_VARIABLES)}."
            ) from None
    elif all(name in environ for name in SLURM_VARIABLES):
        found = Hosts(_find_slurm_address(environ), int(environ["SLURM_NTASKS"]), int(environ["SLURM_PROCID"]))
    if found is None or found.count == 1:
        return None
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"train: found {found.count} processes on the {keras.backend.backend()} backend, expected JAX, on which Keras "
            "trains in several; set KERAS_BACKEND=jax, or start one process."
        )
    return found


def _find_slurm_address(environ: Mapping[str, str]) -> str:
    """Of process 0: the first machine of a list such as a1,b2 or node[001-004,007],b2, and a port of the job, as in JAX."""
    first, number = re.match(r"([^,\[]*)(?:\[(\w*))?", environ["SLURM_STEP_NODELIST"]).groups()
    port = environ.get("JAX_COORDINATOR_PORT") or 61440 + int(environ["SLURM_JOB_ID"]) % 4096
    return f"{first}{number or ''}:{port}"
