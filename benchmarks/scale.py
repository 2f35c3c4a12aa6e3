"""Training on many devices: that it is the same training, what it would come to on machines of GPUs, and what it costs here.

    python benchmarks/scale.py paper                  counted numbers and published rates: a minute
    python benchmarks/scale.py same                   one process and two, with 1, 2 and 8 devices; one killed: five minutes
    python benchmarks/scale.py kills [N]              one of two killed or stopped in the middle of a step, N times each
    python benchmarks/scale.py memory                 what 1, 2 and 4 processes hold together: ten minutes
    python benchmarks/scale.py cost                   a step on one device with and without a distribution: some minutes

All on the CPU, with JAX. Each prints what SCALE.md has of it. `scale_labels.py` measures reading large label files.
"""

import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKER = ROOT / "tests" / "distribution" / "worker.py"
FLAGS = ["--backbone", "hourglass_10", "--weights", "none", "--image-size", "32", "--batch-size", "8", "--eval-every", "1",
         "--threads", "1", "--precision", "float32"]  # fmt: skip
NETWORKS = (("hourglass_104", 512), ("resnet50_v1_fpn", 512), ("mobilenetv2_fpn", 512), ("efficientnet_lite0_fpn", 320))
# Published: bfloat16 products without sparsity, links of a GPU inside of a machine and of one out of it, one way, in GB/s.
RATE, REACHED, NVLINK, INFINIBAND, ETHERNET = 989e12, 0.4, 450e9, 50e9, 12.5e9 / 8
IMAGES_A_CORE = 122  # decoded and augmented in a second by one thread, from 640x360 to 512x512, see RESULTS.md


def main() -> int:
    os.environ.update(KERAS_BACKEND="jax", TF_CPP_MIN_LOG_LEVEL="3")
    sys.path.insert(0, str(ROOT))
    cases = {"paper": write_paper, "same": check_same, "kills": kill_often, "memory": measure_memory, "cost": measure_cost}
    cases[sys.argv[1]]()
    return 0


def write_paper() -> None:
    """What a step computes and sends, by network, and how long both take at published rates."""
    from centerkp.model.cost import count_gmac
    from centerkp.schema import Schema
    from centerkp.weights.start import build_model

    columns = ("network", "image", "parameters", "GFLOP an image", "sent a step", "images/s of a GPU", "cores for a GPU",
               "ms a step of 4 images", "ms to reduce, 8 GPUs", "64, InfiniBand", "64, Ethernet")  # fmt: skip
    print("|", " | ".join(columns), "|\n| --- |" + " ---: |" * (len(columns) - 1))
    for name, size in NETWORKS:
        model = build_model(Schema.generic(1, (17,)), backbone=name, image_size=size)
        flop = 6e9 * count_gmac(model, all_heads=True)  # two for a multiply-add, three passes
        sent = 4 * sum(math.prod(v.shape) for v in model.trainable_variables)
        rate = REACHED * RATE / flop
        inside = 2 * 7 / 8 * sent / NVLINK
        print(
            f"| {name} | {size} | {sent / 4e6:.1f} M | {flop / 1e9:.0f} | {sent / 1e6:.0f} MB | {rate:.0f} | "
            f"{rate / IMAGES_A_CORE:.1f} | {4e3 / rate:.1f} | {1e3 * inside:.1f} | "
            f"{1e3 * (inside + 2 * 7 / 8 * sent / 8 / INFINIBAND):.1f} | "
            f"{1e3 * (inside + 2 * 7 / 8 * sent / 8 / ETHERNET):.1f} |"
        )


def start(folder: Path, run: str, *flags: str, number: int = 0, devices: int = 1) -> tuple[subprocess.Popen, Path]:
    """A process that trains into a run of the folder, and the file that lists which images it has seen."""
    seen = folder / f"{run}{number}.jsonl"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    with open(folder / f"{run}{number}.txt", "a") as said:
        command = [sys.executable, str(WORKER), str(seen), *flags]
        return subprocess.Popen(command, env=environment, stdout=said, stderr=said, cwd=folder), seen


def start_pair(folder: Path, run: str, *flags: str, devices: int = 1) -> list[tuple[subprocess.Popen, Path]]:
    """Two processes that train into one run."""
    return start_several(folder, run, 2, *flags, devices=devices)


def start_several(folder: Path, run: str, count: int, *flags: str, devices: int = 1) -> list[tuple[subprocess.Popen, Path]]:
    """So many processes that train into one run."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        together = ["--hosts", f"localhost:{one.getsockname()[1]}", "--num-hosts", str(count), "--host-id"]
    return [start(folder, run, *flags, *together, str(i), number=i, devices=devices) for i in range(count)]


def check_same() -> None:
    """Three epochs on one device and on many: differences of losses and weights, images seen; one of two processes killed."""
    from centerkp.demo.scenes import write_demo

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_demo(folder / "demo", num_train=18, num_val=7, num_test=1, size=(96, 80))
        data = ["--coco", "demo/train.json", "--val", "demo/val.json", *FLAGS]

        def flags(run: str, epochs: int = 3) -> list[str]:
            return [*data, "--run", run, "--epochs", str(epochs)]

        runs = {"one": [start(folder, "one", *flags("one"))]}
        for devices in (2, 8):
            runs[f"one-{devices}"] = [
                start(folder, f"one-{devices}", *flags(f"one-{devices}"), "--devices", "all", devices=devices)
            ]
        for devices in (1, 2):
            runs[f"two-{devices}"] = start_pair(folder, f"two-{devices}", *flags(f"two-{devices}"), devices=devices)
        for run, processes in runs.items():
            codes = [process.wait() for process, _ in processes]
            print(run, "ended with", codes, *compare(folder / "one", folder / run))
            seen = [{tuple(json.loads(line)) for line in path.read_text().splitlines()} for _, path in processes]
            print("   samples", [len(one) for one in seen], "in all", len(set.union(*seen)))
        for victim in (0, 1):
            kill_one(folder, f"killed-{victim}", flags(f"killed-{victim}", 9), victim)
        print("killed runs differ by", *compare(folder / "killed-0", folder / "killed-1"))


def kill_one(folder: Path, run: str, flags: list[str], victim: int) -> None:
    """Kills one of two processes in the third epoch, and goes on with one device after the one, with two after the other."""
    processes = [process for process, _ in start_pair(folder, run, *flags)]
    log = folder / run / "log.csv"
    while not log.exists() or len(log.read_text().splitlines()) < 3:
        time.sleep(0.2)
    processes[victim].send_signal(signal.SIGKILL)
    started = time.monotonic()
    code = processes[1 - victim].wait()
    said = (folder / f"{run}{1 - victim}.txt").read_text()
    sentence = next((line for line in said.splitlines() if "gone" in line), "no sentence")
    print(f"process {victim} killed: the other ended with {code} after {time.monotonic() - started:.1f} s: {sentence}")
    again = start_pair(folder, run, "--resume", run) if victim else [start(folder, run, "--resume", run)]
    print(f"   resumed in {len(again)}: ended with", [process.wait() for process, _ in again])


# Two processes that do nothing but steps, in which each waits for what the other has computed.
STEPS = """
import sys, jax, numpy as np
from centerkp.console import make_console
from centerkp.distribution.team import Team
from centerkp.settings.training import TrainSettings
with Team(TrainSettings(hosts=sys.argv[1], num_hosts=2, host_id=int(sys.argv[2])), make_console()) as team:
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("all",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("all"))
    rows = jax.make_array_from_callback((2, 300, 300), spread, lambda place: np.ones((1, 300, 300), np.float32))
    step = jax.jit(lambda x: (x @ x / 300).sum(0))
    print("begun", step(rows).shape, flush=True)
    while True:
        jax.block_until_ready(step(rows))
"""


def kill_often() -> None:
    """Ends one of two processes at a random moment of its steps, again and again: how the other ends, and when."""
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    for ending, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        for victim in (0, 1):
            ends, took = Counter(), []
            for _ in range(count if ending == "killed" else 1):
                seconds, code, said = end_one(victim, number)
                told = [line for line in said.splitlines() if line.strip()]
                is_first = any(
                    line.startswith(f"error: process {1 - victim} of 2: found process {victim}") for line in told[:1]
                )
                ends[f"exit code {code}, {'our sentence alone' if is_first and len(told) == 1 else said[-400:]}"] += 1
                took.append(seconds)
            print(
                f"process {victim} {ending}: the other ended after {min(took):.1f} to {max(took):.1f} s: {dict(ends)}",
                flush=True,
            )


def end_one(victim: int, number: int) -> tuple[float, int, str]:
    """Sends a signal to one of two processes in their steps; seconds until the other ends, its exit code, and its errors."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    environment, pipe = os.environ | {"PYTHONPATH": str(ROOT)}, subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", STEPS, address, str(i)], env=environment, stdout=pipe, stderr=pipe, text=True)
        for i in (0, 1)
    ]
    for one in processes:
        while (line := one.stdout.readline()) and not line.startswith("begun"):
            pass
    time.sleep(random.random())
    processes[victim].send_signal(number)
    started = time.monotonic()
    said = processes[1 - victim].communicate()[1]
    seconds = time.monotonic() - started
    processes[victim].kill()
    processes[victim].communicate()
    return seconds, processes[1 - victim].returncode, said


def measure_memory() -> None:
    """The proportional memory of 1, 2 and 4 processes that train on 400 pictures of 640x480: the most of all, and of each."""
    from centerkp.demo.scenes import write_demo

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        demo = write_demo(folder / "demo", num_train=20, num_val=8, num_test=1, size=(640, 480))
        repeat_images(demo.train_json, 20)
        for cache in ("none", "ram"):
            for count in (1, 2, 4):
                run = f"{cache}{count}"
                flags = ["--coco", str(demo.train_json), "--val", str(demo.val_json), *FLAGS, "--run", run, "--epochs", "2"]
                flags += ["--cache", cache]
                processes = start_several(folder, run, count, *flags) if count > 1 else [start(folder, run, *flags)]
                each = watch_memory([process for process, _ in processes])
                codes = {process.returncode for process, _ in processes}
                print(
                    f"cache {cache}, {count} processes: {sum(each):.0f} MB in all, of each {[round(one) for one in each]}",
                    codes,
                )


def repeat_images(path: Path, times: int) -> None:
    """Lists each image of a COCO file so many times, as files of their own, with their objects."""
    content = json.loads(path.read_text())
    images, annotations = content["images"], content["annotations"]
    content["images"], content["annotations"] = [], []
    (first,) = path.parent.rglob(images[0]["file_name"])
    for copy in range(times):
        for image in images:
            name = Path(image["file_name"])
            other = name.with_name(f"{copy}_{name.name}")
            os.link(first.with_name(name.name), first.with_name(other.name))
            content["images"].append(image | {"id": image["id"] + 1000 * copy, "file_name": str(other)})
        for one in annotations:
            ids = {"id": one["id"] + 10000 * copy, "image_id": one["image_id"] + 1000 * copy}
            content["annotations"].append(one | ids)
    path.write_text(json.dumps(content))


def watch_memory(processes: list[subprocess.Popen]) -> list[float]:
    """Proportional memory in MB of each process with its children, when all together held the most; waits for their end."""
    import psutil

    most = [0.0] * len(processes)
    while any(process.poll() is None for process in processes):
        held = []
        for process in processes:
            try:
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                held.append(sum(one.memory_full_info().pss for one in family) / 1e6)
            except psutil.Error:  # it has just ended
                held.append(0.0)
        most = max(most, held, key=sum)
        time.sleep(0.5)
    return most


def compare(ours: Path, theirs: Path) -> list[str]:
    """How far two runs are apart: in their logs, relative, and in the weights of both models."""
    import keras
    import numpy as np

    import centerkp
    from centerkp.training.run_folder import RunFolder

    one, other = RunFolder(ours), RunFolder(theirs)
    rows = list(zip(one.read_log(), other.read_log(), strict=True))
    worst = max(abs(a[k] - b[k]) / max(abs(a[k]), 1e-9) for a, b in rows for k in a if k != "seconds")
    models = [centerkp.load_model(folder.last) for folder in (one, other)]
    pairs = zip(*([keras.ops.convert_to_numpy(v) for v in model.weights] for model in models), strict=True)
    apart = max(float(np.abs(a - b).max()) for a, b in pairs)
    same = json.loads(one.metrics.read_text())["box"] == json.loads(other.metrics.read_text())["box"]
    return [f"numbers of the log within {worst:.1e}, weights within {apart:.1e}, evaluation {'equal' if same else 'NOT equal'}"]


def measure_cost() -> None:
    """Steps of one model on one device, without a distribution and with one, in turns: medians in ms."""
    import jax
    import keras
    import numpy as np

    from centerkp.distribution.team import Replicas
    from centerkp.schema import Schema
    from centerkp.training.batch_trial import make_batch
    from centerkp.weights.start import build_model

    spread = Replicas(devices=jax.local_devices()[:1], auto_shard_dataset=False)
    took: dict[str, list[float]] = {}
    models = {}
    for name, distribution in (("without", None), ("with", spread)):
        keras.distribution.set_distribution(distribution)
        models[name] = build_model(Schema.generic(1, (17,)), backbone="hourglass_10", image_size=128)
        models[name].compile(keras.optimizers.AdamW(1e-4))
    batch = make_batch(models["with"], 4, 3)
    for _ in range(20):
        for name, model in models.items():
            keras.distribution.set_distribution(spread if name == "with" else None)
            started = time.perf_counter()
            model.train_on_batch(*batch)
            took.setdefault(name, []).append(1e3 * (time.perf_counter() - started))
    print({name: f"{np.median(times[2:]):.1f} ms" for name, times in took.items()})


if __name__ == "__main__":
    sys.exit(main())
