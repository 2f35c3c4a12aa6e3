"""One process of a training with the smallest network there is: `python worker.py SEEN.jsonl TRAIN-FLAGS ...`.

Into SEEN it writes a line for each training sample that it makes: epoch, position in it, image id.
"""

import json
import sys
from pathlib import Path

from centerkp.cli import main
from centerkp.console import import_quietly


def run(seen: Path, arguments: list[str]) -> int:
    import_quietly("keras")
    from centerkp.samples import pipeline
    from centerkp.training import train as training

    make = pipeline._Plan.make_flat

    def note(plan, epoch, position, index):
        if plan._shuffle:
            with open(seen, "a") as file:
                print(json.dumps([int(epoch), int(position), int(plan._records[index].image_id)]), file=file)
        return make(plan, epoch, position, index)

    pipeline._Plan.make_flat = note
    training.start_model = lambda schema, settings, console: training.build_probe(schema, settings)
    return main(["train", *arguments])


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
