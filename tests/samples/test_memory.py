"""How much memory is left, read from files as Linux writes them, and what ends a step that takes more."""

import subprocess
import sys
import threading

import pytest
from rich.console import Console

from centerkp.samples import memory
from centerkp.settings.training import TrainSettings
from centerkp.training import memory_guard
from centerkp.training.memory_guard import MemoryGuard

GB = 10**9


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Writes a cgroup's files into a folder that stands for /sys/fs/cgroup."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)

    def write(folder, **files):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name.replace("__", ".")).write_text(str(text))

    return write


def read_groups(monkeypatch, lines):
    real = memory.Path.read_text
    monkeypatch.setattr(
        memory.Path, "read_text", lambda self, *a, **k: lines if str(self) == "/proc/self/cgroup" else real(self, *a, **k)
    )
    return memory._read_cgroups()


def test_cgroups_of_the_second_kind(cgroups, monkeypatch):
    """Each up to the topmost counts; files in memory that can be dropped are free."""
    cgroups("a", memory__max=4 * GB, memory__current=2 * GB, memory__stat=f"anon 5\ninactive_file {GB}\n")
    cgroups("a/b", memory__max="max", memory__current=GB, memory__stat="")
    assert read_groups(monkeypatch, "0::/a/b\n") == [3 * GB]
    assert read_groups(monkeypatch, "0::/elsewhere\n") == []


def test_cgroups_of_the_first_kind_in_a_container(cgroups, monkeypatch):
    """It sees its own group as the topmost, under a path that is not there."""
    stat = "inactive_file 7\ntotal_inactive_file 1000\n"
    cgroups("memory", memory__limit_in_bytes=4 * GB, memory__usage_in_bytes=GB, memory__stat=stat)
    assert read_groups(monkeypatch, "3:cpu:/x\n4:memory:/docker/1234\n0::/\n") == [3 * GB + 1000]


def test_the_least_of_all_counts(monkeypatch):
    monkeypatch.setattr(memory, "_read_machine", lambda: 5 * GB)
    monkeypatch.setattr(memory, "_read_cgroups", lambda: [3 * GB, 9 * GB])
    monkeypatch.setattr(memory, "read_address_limit", lambda: 8 * GB)
    monkeypatch.setattr(memory, "read_use", lambda: {"resident": 1, "addressed": 2 * GB})
    assert memory.find_free_memory() == {"resident": 3 * GB, "addressed": 6 * GB}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
@pytest.mark.parametrize("limited", [True, False])
def test_threads_share_addresses_under_a_limit(limited):
    """glibc gives each of twenty threads that ask for memory at the same time 64 MB of addresses of its own, or none."""
    limit = "resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))" if limited else ""
    code = (
        "import resource, threading\n"
        "from centerkp.samples.memory import read_use, share_addresses\n"
        f"{limit}\n"
        "share_addresses()\n"
        "threading.stack_size(2**20)\n"
        "before, barrier = read_use()['addressed'], threading.Barrier(21)\n"
        "def hold():\n"
        "    held = [bytes(2000) for _ in range(100)]\n"
        "    barrier.wait()\n"
        "    barrier.wait()\n"
        "for _ in range(20):\n"
        "    threading.Thread(target=hold).start()\n"
        "barrier.wait()\n"
        "print(read_use()['addressed'] - before)\n"
        "barrier.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 2e8) is limited


def test_this_machine():
    before = memory.read_use()
    held = bytearray(4 * 10**8)  # much more than other threads may give back meanwhile
    held[::4096] = b"1" * len(held[::4096])
    assert memory.read_use()["resident"] - before["resident"] > 3 * 10**8
    assert memory.find_free_memory()["resident"] > 10**7
    assert memory.read_use(2**22 + 1) == {}


def test_a_step_that_takes_all_memory_ends_in_a_sentence(monkeypatch, capsys):
    free, ended = iter([4 * GB, 3 * GB, 0.1 * GB]), threading.Event()
    monkeypatch.setattr(memory_guard, "find_free_memory", lambda: {"resident": next(free)})
    monkeypatch.setattr(memory_guard.os, "_exit", lambda code: (ended.set(), guard.is_over.set()))
    guard = MemoryGuard(TrainSettings(batch_size=64, image_size=512), Console())
    guard.on_train_begin()
    assert ended.wait(10)
    text = capsys.readouterr().err.strip()
    assert text.startswith("error: train: found 4.0 GB of memory free, expected more for a step of 64 images of 512; take")
    assert all(flag in text for flag in ("--batch-size auto", "--accumulate", "--remat", "--image-size"))


def test_later_steps_are_not_watched(monkeypatch):
    monkeypatch.setattr(memory_guard, "find_free_memory", lambda: {"resident": 4 * GB})
    guard = MemoryGuard(TrainSettings(), Console())
    guard.on_train_begin()
    for step in range(3):
        assert not guard.is_over.is_set()
        guard.on_train_batch_end(step)
    assert guard.is_over.is_set()
