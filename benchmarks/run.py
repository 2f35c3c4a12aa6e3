"""Measures this machine and writes benchmarks/RESULTS.md.

Run it on a quiet machine: python benchmarks/run.py, some ten minutes on two cores. Every case has a process of its own, so
that peak memory is the case's own and is given back. KERAS_BACKEND chooses the backend, as everywhere.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import measure
import memory
import network
import page
import pipeline
import targets
import training

PARTS = {"pipeline": pipeline, "targets": targets, "network": network, "training": training, "memory": memory}
PAGES = {"training": "TRAINING.md", "memory": "MEMORY.md"}  # of parts that are measured by themselves, with --only
RESULTS = Path(__file__).with_name("RESULTS.md")

START = """\
# Benchmarks

Written by `make bench` (`python benchmarks/run.py`), which measures everything here anew; do not edit. Each line comes
from processes of its own, started one after another. Times are medians with their range; the matrix-product rate is
measured in the same processes just before and after, so that every number can be read against what the machine gave at
that moment."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmarks; returns 1 when a case failed, which its line on the page says too."""
    options = read_arguments(arguments)
    if options.case:
        print(json.dumps(run_case(json.loads(options.case))))
        return 0
    if not sys.platform.startswith("linux"):
        print(f"benchmarks: found {sys.platform}, expected Linux, whose /proc tells memory; run them there.", file=sys.stderr)
        return 2
    started, load = time.monotonic(), os.getloadavg()[0]
    if load > 0.5:
        print(f"The machine is busy (load {load:.1f}): expect slow and scattered times.")
    written = RESULTS.with_name(PAGES[options.only]) if options.only in PAGES else None if options.only else RESULTS
    output = options.output or (None if options.quick else written)
    names = [options.only] if options.only else [name for name in PARTS if name not in PAGES]
    cases = [(name, case) for name in names for case in PARTS[name].list_cases(options.quick)]
    rows: dict[str, list[dict]] = {name: [] for name in names}
    for number, (name, case) in enumerate(cases, 1):
        print(f"[{number}/{len(cases)}] {name}: {PARTS[name].name_case(case)} ... ", end="", flush=True)
        row = case | start_case(name, case)
        print(row.get("error") or PARTS[name].describe(row), flush=True)
        rows[name].append(row)
        if number < len(cases) and cases[number][0] == name:
            continue
        everything = [row for part in rows.values() for row in part]
        sections = [START, page.machine_facts(everything, load)]
        sections += [PARTS[n].write_section(rows[n]) for n in names if rows[n]]
        minutes = (time.monotonic() - started) / 60
        sections.append(f"{number} of {len(cases)} cases, {minutes:.1f} minutes.")
        text = "\n\n".join(section.strip() for section in sections) + "\n"
        if output:  # after every part, so that an interrupted run leaves what it has measured
            output.write_text(text, encoding="utf-8")
    print(f"wrote {output} after {minutes:.1f} minutes" if output else f"\n{text}")
    return int(any("error" in row for row in everything))


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures this machine and writes a page of tables.", allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="a few tiny cases, to see that all works")
    parser.add_argument("--only", choices=list(PARTS), help="one part of the page; training and memory have pages of their own")
    parser.add_argument(
        "--output", type=Path, help=f"file to write (default: {RESULTS.name} beside this program; --quick and --only print)"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def start_case(name: str, case: dict) -> dict:
    """What the case measured, or `{"error": why it failed}`."""
    try:
        return measure.run_apart(__file__, ["--case", json.dumps({"part": name, "case": case})])
    except ChildProcessError as error:
        return {"error": str(error)}


def run_case(job: dict) -> dict:
    """Measures one case in this process."""
    result = PARTS[job["part"]].measure_case(**job["case"])
    import keras

    return result | {"backend": f"{keras.backend.backend()} on {keras.distribution.list_devices()[0]}"}


if __name__ == "__main__":
    sys.exit(main())
