"""The page: numbers as text, tables, what the machine is, and the results of measurements that take hours, one by one."""

import datetime
import json
import os
import platform
import statistics
import textwrap
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "albumentations")
# What decides how fast a core multiplies matrices of float32, bfloat16 and int8.
MATRIX_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")

median = statistics.median


def paragraph(text: str) -> str:
    """The text in lines of one width, whatever was put into it."""
    return textwrap.fill(" ".join(text.split()), 110, break_long_words=False, break_on_hyphens=False)


def table(header: Sequence[str], lines: Iterable[Sequence]) -> str:
    """A Markdown table, numbers flush right; a line that ends early (a case that failed) is filled up with empty cells."""
    rows = [[str(cell) for cell in line] + [""] * (len(header) - len(line)) for line in lines]
    right = [all(row[i][:1].isdigit() for row in rows if row[i]) for i in range(len(header))]
    rule = ["---:" if flush else "---" for flush in right]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(header), rule, *rows])


def seconds_text(seconds: float) -> str:
    """0.01234 -> "12.3 ms", 2.345 -> "2.35 s"."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def times_text(times: Sequence[float]) -> tuple[str, str]:
    """The median, and the range from the fastest to the slowest."""
    return seconds_text(median(times)), f"{seconds_text(min(times))} to {seconds_text(max(times))}"


def machine_facts(rows: Sequence[dict], load: float) -> str:
    """A table of what was measured on; `load` is the system's load average before the first case."""
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    measured = [row for row in rows if "error" not in row]
    rates = [rate / 1e9 for row in measured for rate in row["rates"]]
    facts = {
        "date": datetime.date.today().isoformat(),
        "processor": processor_text(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{ram / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES if _is_installed(name)),
        "backend": " / ".join(sorted({row["backend"] for row in measured})) or "unknown",
        "load before the first case": f"{load:.2f}",
        "float32 matrix product": f"{median(rates):.0f} GFLOP/s, {min(rates):.0f} to {max(rates):.0f} over the run"
        if rates
        else "not measured",
    }
    return table(["machine", ""], facts.items())


def processor_text() -> str:
    """The processor's name, and which of the `MATRIX_FLAGS` it lists."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), platform.machine())
    return f"{model}; {', '.join(flag for flag in MATRIX_FLAGS if has_flag(flag)) or 'no vector extensions listed'}"


def has_flag(*names: str) -> bool:
    """Whether the processor lists one of these extensions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return bool({*names} & set(next((line.split() for line in lines if line.startswith("flags")), [])))


def is_measured(page: Path, case: dict) -> bool:
    """Whether there is a result of this case among those of a page; asked before it is measured.

    Raises:
        FileExistsError: the page is there, but not the results that it was written from, which would be lost with it.
    """
    return any(case.items() <= one.items() for one in _read_results(page))


def add_result(page: Path, result: dict, write: Callable[[list[dict]], str]) -> None:
    """Keeps one more result of a page, in `results/` beside it, and writes the page anew from all of them.

    They are in the repository, so that a page has what was measured on several machines, and nothing is measured twice.
    """
    from centerkp.writing import write_json  # not with the module: programs that start others must stay small

    results = [*_read_results(page), result]
    write_json(_name_results(page), results, indent=1)
    page.write_text(write(results), encoding="utf-8")


def _read_results(page: Path) -> list[dict]:
    path = _name_results(page)
    if page.exists() and not path.exists():
        raise FileExistsError(f"{page}: found no {path}, expected the results in it; move the page away to begin a new one.")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _name_results(page: Path) -> Path:
    return page.parent / "results" / f"{page.stem}.json"


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except ModuleNotFoundError:
        return False
    return True
