"""The processes and devices that train one model together: who is first, what all know, whose a model is."""

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import keras
import numpy as np
from rich.console import Console

from centerkp.distribution.devices import check_shares, choose_devices, require_jax
from centerkp.distribution.hosts import Hosts, find_hosts
from centerkp.distribution.line import Line, publish
from centerkp.settings.training import TrainSettings

T = TypeVar("T")
VERDICT = 3  # seconds in which what failed turns out to be the end of another process


class Replicas(keras.distribution.DataParallel):
    """Each device of one process takes a share of a batch, or all of it where there are no equal shares."""

    def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
        """How a batch of this shape lies on the devices."""
        if data_shape[0] % self.num_model_replicas:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


class Team:
    """Those that train one model: processes, each with its devices. `Team()` is one process on one device.

    As a context it holds the processes together: one that leaves it by an error ends them all. Inside of it, models belong to
    their process and lie on all of its devices, but for the one that is in `together`.

    Args:
        console: of process 0; the others stay silent but for what they wait for.
    """

    def __init__(self, settings: TrainSettings | None = None, console: Console | None = None) -> None:
        self.settings, self.console = settings, console
        self.index, self.count, self.devices = 0, 1, 1
        self.line: Line | None = None
        self.own: keras.distribution.DataParallel | None = None
        self.all: keras.distribution.DataParallel | None = None
        self.choice = ""  # a line on the devices

    def __enter__(self) -> Self:
        settings = self.settings
        require_jax(settings)
        hosts = find_hosts(settings)
        if hosts:
            self._connect(hosts)
        if keras.backend.backend() == "jax":
            self._choose_devices()
        return self

    def _connect(self, hosts: Hosts) -> None:
        """Meets the other processes."""
        self.index, self.count = hosts.index, hosts.count
        if self.is_first:
            self.console.print(f"hosts: waiting for {self.count - 1} more to come to {hosts.machine}")
        else:
            self.say("waits for process 0")
            self.console = Console(quiet=True)
        hosts.connect()
        self.line = Line(self.index, self.count, hosts.machine, publish)

    def _choose_devices(self) -> None:
        """Chooses the devices of all processes, and has models made on those of this one."""
        import jax

        local = jax.local_devices()
        chosen, self.choice = choose_devices(self.settings, local, self.count)
        if len(numbers := set(self.gather(chosen))) > 1:
            raise ValueError(f"devices: found {sorted(numbers)} in the processes, expected as many in each; give --devices.")
        self.devices = chosen * self.count
        if self.devices == 1:
            return
        if chosen > 1:
            self.own = Replicas(devices=local[:chosen], auto_shard_dataset=False)
        everywhere = [device for one in range(self.count) for device in self._list_devices(one)[:chosen]]
        self.all = keras.distribution.DataParallel(devices=everywhere, auto_shard_dataset=False) if self.count > 1 else self.own
        keras.distribution.set_distribution(self.own)

    @staticmethod
    def _list_devices(process: int) -> list[Any]:
        """The devices of a process, in the order in which a batch is shared out."""
        import jax

        return [device for device in jax.devices() if device.process_index == process]

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self.devices > 1:
            keras.distribution.set_distribution(None)
        if kind is None:
            self.leave()
        if not self.line:
            return
        if issubclass(kind, Exception):  # what fails here may do so because a process has died there, which ends this one
            time.sleep(VERDICT)
        self.line.abandon()

    def leave(self) -> None:
        """Ends what the processes do together, after which each may end by itself; all have to say so."""
        if self.line:
            self.gather(None)  # some have more to do until then
            self.line.close()
            self.line = None

    def wait_for_all(self) -> None:
        """Waits until all processes have come here: what one has written the others can read."""
        self.gather(None)

    @contextmanager
    def first_ahead(self, what: str) -> Iterator[None]:
        """A context into which the others go when process 0 has left it."""
        if not self.is_first:
            self.from_first(lambda: None, what)
        yield
        if self.is_first:
            self.from_first(lambda: None)

    def require_same_weights(self, model: keras.Model) -> None:
        """Raises ValueError where the processes do not begin with the same numbers, of which each trains a copy."""
        digest = 0
        for variable in model.variables if self.line else ():
            digest = zlib.crc32(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes(), digest)
        others = [index for index, one in enumerate(self.gather(digest)) if one != digest]
        if others:
            raise ValueError(
                f"weights: found others in the processes {others} than in process {self.index}, expected the same in all; give "
                "them the same files and the same versions of everything."
            )

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes the run, prints, and decides by the clock."""
        return self.index == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which part of every training batch this process reads, and of how many."""
        return self.index, self.count

    def check(self, settings: TrainSettings) -> None:
        """Raises ValueError where a run with these settings cannot be shared out among the team."""
        check_shares(settings, self.devices)

    def say(self, text: str) -> None:
        """Prints what a process does that else says nothing."""
        if self.count > 1 and not self.is_first:
            print(f"process {self.index} of {self.count} {text}", flush=True)

    def gather(self, value: T) -> list[T]:
        """The values of all processes in their order; all have to ask for them."""
        return self.line.gather(value) if self.line else [value]

    def from_first(self, make: Callable[[], T], what: str = "") -> T:
        """What process 0 makes; the others wait for it, and say so where `what` it does takes long."""
        if not self.line:
            return make()
        if self.is_first:
            return self.line.tell(make())
        if what:
            self.say(f"waits for process 0 to {what}")
        return self.line.tell()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside `together`, what a process makes is its own: Keras makes variables also when it only saves a model."""
        former = keras.distribution.distribution()
        keras.distribution.set_distribution(self.own)
        try:
            yield
        finally:
            keras.distribution.set_distribution(former)

    @contextmanager
    def together(self, model: keras.Model) -> Iterator[None]:
        """Inside, a model is that of all processes, and a step of it takes a share of the batch from each."""
        with self._holding(model, self.all, self.own):
            yield

    @contextmanager
    def apart(self, model: keras.Model) -> Iterator[None]:
        """Inside `together`, a model is that of each process alone again."""
        with self._holding(model, self.own, self.all):
            yield

    @contextmanager
    def _holding(self, model: keras.Model, here: Any, back: Any) -> Iterator[None]:
        """Inside, a model lies on the devices of one distribution, afterwards on those of another again."""
        if here is back:
            yield
            return
        _move(model, here)
        keras.distribution.set_distribution(here)
        try:
            yield
        finally:
            keras.distribution.set_distribution(back)
            _move(model, back)


def _move(model: keras.Model, distribution: keras.distribution.DataParallel | None) -> None:
    """Lays the variables of a model on the devices of a distribution, of which each of this process has a copy already.

    Nothing is sent: every process has the same numbers. Keras has no word for it.
    """
    import jax

    sharding = None
    if distribution is not None:
        sharding = jax.sharding.NamedSharding(distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec())
    optimizer = model.optimizer.variables if model.optimizer else []
    for variable in [*model.variables, *model.metrics_variables, *optimizer]:
        variable._layout = sharding
        value = variable._value
        if value is None or value.is_deleted():  # after a step that broke
            continue
        copies = [shard.data for shard in value.addressable_shards]
        if sharding is None:
            variable._value = copies[0]
        else:
            variable._value = jax.make_array_from_single_device_arrays(value.shape, sharding, copies)


def place(batch: Any, distribution: keras.distribution.DataParallel | None) -> Any:
    """Lays a batch on the devices of this process, each its share."""
    if distribution is None:
        return batch
    import jax

    def lay(values: Any) -> Any:
        values = np.asarray(values)
        return jax.device_put(values, distribution.get_data_layout(values.shape).backend_layout)

    return keras.tree.map_structure(lay, batch)
