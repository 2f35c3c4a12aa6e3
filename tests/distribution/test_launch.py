"""The files in docs/launch: scripts that a shell reads, a manifest that is YAML, flags and variables that there are."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from centerkp.cli.commands import build_parser
from centerkp.distribution.hosts import KERAS_VARIABLES, Hosts, find_hosts
from centerkp.settings.training import TrainSettings

LAUNCH = Path(__file__).parents[2] / "docs" / "launch"


def parse(words):
    return build_parser().parse_args(["train", *words])


@pytest.mark.parametrize("name", ["slurm.sbatch", "ssh.sh"])
def test_a_shell_reads_it_and_the_flags_are_ours(name):
    subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)
    text = (LAUNCH / name).read_text()
    known = parse([]).parser._option_string_actions
    flags = re.findall(r"--[a-z-]+", re.search(r"train\.py.*?(?:\n\n|\ndone|$)", text.split("set -euo")[1], re.DOTALL)[0])
    assert flags and set(flags) <= known.keys()


def test_ssh_starts_a_process_on_each_machine(tmp_path):
    """With an ssh that only says what it was to do."""
    (tmp_path / "ssh").write_text('#!/bin/bash\nsleep 0.$((RANDOM % 9))\necho "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    command = [str(LAUNCH / "ssh.sh"), "a,b,c", "--coco", "my labels.json"]
    ran = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    said = sorted(re.sub(r"\s+", " ", line).split(" ", 2)[1:] for line in ran.stdout.replace("\\\n", " ").splitlines())
    assert [node for node, _ in said] == ["a", "b", "c"]
    for number, (_, line) in enumerate(said):
        options = parse(shlex.split(line.split("train.py ")[1]))
        assert (options.coco, options.hosts, options.num_hosts, options.host_id) == (["my labels.json"], "a:1234", 3, number)


def test_the_manifest_names_every_process(monkeypatch):
    monkeypatch.setattr("centerkp.distribution.hosts.keras.backend.backend", lambda: "jax")
    manifest = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    (one,) = manifest["spec"]["replicatedJobs"]
    job = one["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {entry["name"]: entry.get("value", "1") for entry in container["env"]}
    assert set(KERAS_VARIABLES) < set(variables) and job["parallelism"] == job["completions"] == 2
    host = f"{manifest['metadata']['name']}-{one['name']}-0-0.{manifest['spec']['network']['subdomain']}"
    assert find_hosts(TrainSettings(), variables) == Hosts(f"{host}:1234", 2, 1)
    for words in re.findall(r"set -- (.*?);", container["args"][0]):
        parse(words.split())
