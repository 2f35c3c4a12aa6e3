"""Which processes train together: by flags, by the variables of Keras, or by what SLURM tells each of its tasks."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

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
        address: of process 0, host:port; None where JAX asks SLURM for all that it needs.
    """

    address: str | None
    count: int
    index: int

    @property
    def machine(self) -> str:
        """Name or address of the machine of process 0, as the others reach it; for process 0 itself under SLURM."""
        return self.address.split(",")[0].rsplit(":", 1)[0] if self.address else socket.gethostname()

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
        given = {}
        if self.address:
            address = self.address.split(",")[0]
            given = {"coordinator_address": address, "num_processes": self.count, "process_id": self.index}
        try:
            jax.distributed.initialize(**given, initialization_timeout=PATIENCE, shutdown_timeout_seconds=FAREWELL)
        except RuntimeError as error:
            raise ValueError(
                f"hosts: found {self.address or 'the tasks of SLURM'} not answering as process 0 of {self.count} ({error}), "
                f"expected all within {PATIENCE} s; start every process, with the same address and a --host-id of its own."
            ) from error


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
        found = Hosts(settings.hosts, settings.num_hosts, settings.host_id)
    elif any(name in environ for name in KERAS_VARIABLES):
        try:
            address, count, index = (environ[name] for name in KERAS_VARIABLES)
            found = Hosts(address, int(count), int(index))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"KERAS_DISTRIBUTION_...: found {error} missing or no number, expected {', '.join(KERAS_VARIABLES)}."
            ) from None
    elif all(name in environ for name in SLURM_VARIABLES):
        found = Hosts(None, int(environ["SLURM_NTASKS"]), int(environ["SLURM_PROCID"]))
    if found is None or found.count == 1:
        return None
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"train: found {found.count} processes on the {keras.backend.backend()} backend, expected JAX, on which Keras "
            "trains in several; set KERAS_BACKEND=jax, or start one process."
        )
    return found
