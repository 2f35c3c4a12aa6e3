"""`centerkp report`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from centerkp.report.run_page import RunFacts
    from centerkp.training.run_folder import RunFolder

HELP = "write the page of a training run anew, or several runs side by side"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp report`."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of training runs, as runs/ann or runs/*")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="page to write (default: report.html in the run's folder, runs.html for several)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name that no earlier report wrote")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp report`: writes the HTML page of one training run, or of several side by side."""
    from centerkp.console import make_console
    from centerkp.report.run_page import write_run_page
    from centerkp.report.runs_page import write_runs_page
    from centerkp.training.run_facts import read_facts
    from centerkp.training.run_folder import RunFolder
    from centerkp.writing import WriteGuard, mark, says

    console = make_console()
    folders = [RunFolder(path) for path in options.runs]
    there = [folder for folder in folders if folder.settings.is_file()]
    for folder in folders:
        if folder not in there and there:
            console.print(f"{folder.path}: no training run, left out", style="yellow", soft_wrap=True)
    there = there or folders[:1]  # whose error says what is missing
    out = Path(options.out) if options.out else there[0].page if len(there) == 1 else Path("runs.html")
    reads = [path for folder in there for path in folder.path.rglob("*") if path != folder.page]
    WriteGuard(reads, options.overwrite).check([out], lambda path: says(path, mark("report")))
    facts = [_see_state(folder, read_facts(folder)) for folder in there]
    if len(facts) == 1:
        write_run_page(facts[0], out)
    else:
        write_runs_page(facts, out)
    console.print(f"written: {out}", soft_wrap=True)


def _see_state(folder: "RunFolder", facts: "RunFacts") -> "RunFacts":
    """The facts of the run, as of an unfinished one where it says that it goes on and no process holds its folder."""
    if facts.state != "training":
        return facts
    try:
        with folder.hold():
            return replace(facts, state="unfinished")
    except (ValueError, OSError):
        return facts
