"""Runs a command of centerkp, and sends it a signal right before its N-th file operation below a folder.

    python kill_at.py FOLDER N SIGNAL COMMAND ...

On its own it ends by saying how many such operations there were: files opened for writing, renamed, removed, and folders.
`download` in place of a command loads the weights called coco, and weights called squares are the detector of the tests.
"""

import os
import signal
import sys

FOLDER, NUMBER, SIGNAL = os.path.abspath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
count = 0


def watch(event: str, arguments: tuple) -> None:
    global count
    if event == "open":
        if not arguments[2] or not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event not in OPERATIONS:
        return
    if isinstance(arguments[0], int) or not os.path.abspath(os.fsdecode(arguments[0])).startswith(FOLDER):
        return
    count += 1
    if count == NUMBER:
        os.kill(os.getpid(), SIGNAL)


def run(arguments: list[str]) -> int:
    import pytest
    import quick

    from centerkp.cli.commands import main
    from centerkp.cli.signals import Interrupted, as_interrupts

    if arguments == ["download"]:
        from centerkp.weights.start import load_weights

        try:
            with as_interrupts():
                load_weights("coco")
            return 0
        except Interrupted as error:
            return error.exit_code
    if "squares" in arguments:
        import squares

        from centerkp.cli import commands
        from centerkp.inference import model_loading

        model_loading.load_for_use = lambda *a, **k: squares.SquareDetector(seconds=0.02)
        commands.import_quietly = lambda *a: None
    with pytest.MonkeyPatch.context() as patch:
        if arguments[0] == "train":
            quick.run_eagerly(patch)
        return main(arguments)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a script in the background makes its children deaf to some
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    sys.addaudithook(watch)
    code = run(sys.argv[4:])
    print(f"\n{count} operations", file=sys.stderr)
    sys.exit(code)
