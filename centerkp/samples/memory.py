"""How much memory samples and training may take: what machine, cgroups and the process's own limit leave, by Linux."""

import re
from contextlib import suppress
from pathlib import Path

# Said of full memory by TensorFlow, JAX, CUDA, OpenCV, OpenVINO and ONNX Runtime.
MEMORY_ERRORS = re.compile(
    r"OOM when allocating|RESOURCE_EXHAUSTED|MemoryError|out of memory|OUT_OF_MEMORY|Insufficient memory|bad_alloc"
    r"|Dst tensor is not initialized|Failed to allocate memory",
    re.IGNORECASE,
)
CGROUPS = Path("/sys/fs/cgroup")
_ARENA_MAX = -8  # of glibc's malloc.h
# Files of a cgroup, of the second kind and of the first: limit, use, and in a file of statistics what can be given back.
_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def find_free_memory() -> dict[str, int]:
    """Bytes of memory still free, "resident" in this machine and its cgroups and "addressed" under `ulimit -v`, where known."""
    resident = [free for free in (_read_machine(), *_read_cgroups()) if free is not None]
    limit, own = read_address_limit(), read_use()
    found = {"resident": min(resident)} if resident else {}
    return found | ({"addressed": limit - own["addressed"]} if limit and own else {})


def read_use(process: int | str = "self") -> dict[str, int]:
    """Bytes of memory that a process holds, "resident" and "addressed"; nothing of one that has ended, or without Linux."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()
    except OSError:
        return {}
    import resource

    size = resource.getpagesize()
    return {"resident": int(pages[1]) * size, "addressed": int(pages[0]) * size}


def read_address_limit() -> int | None:
    """Bytes of memory that a process may address by its own limit (`ulimit -v`); None without one."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def share_addresses() -> None:
    """Where `ulimit -v` counts addresses, lets threads take memory from the same; glibc reserves 64 MB or more for each."""
    if read_address_limit():
        import ctypes

        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _read_machine() -> int | None:
    """Bytes of memory that the machine can still give, also by giving up its caches."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"MemAvailable: +(\d+) kB", text)
    return int(found[1]) * 1024 if found else None


def _read_cgroups() -> list[int]:
    """Bytes of memory left in each cgroup that this process is in and that has a limit, up to the topmost."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, limit, use, freeable = _FILES[bool(controllers)]
        root = CGROUPS / folder
        inner = root / path.strip("/")
        inner = inner if inner.is_dir() else root  # a container sees its own as the topmost
        for cgroup in (inner, *(parent for parent in inner.parents if parent.is_relative_to(root))):
            try:
                most, taken = int((cgroup / limit).read_text()), int((cgroup / use).read_text())
                cached = re.search(rf"^{freeable} (\d+)", (cgroup / "memory.stat").read_text(), re.MULTILINE)
            except (OSError, ValueError):  # no such file, or "max"
                continue
            left.append(most - taken + (int(cached[1]) if cached else 0))
    return left
