"""Who trains together: by flags, by variables of Keras, by those of SLURM."""

import pytest

from centerkp.distribution import hosts
from centerkp.distribution.hosts import KERAS_VARIABLES, Hosts, find_hosts
from centerkp.settings.training import TrainSettings

ALONE = TrainSettings()
GIVEN = TrainSettings(hosts="node1:1234", num_hosts=4, host_id=2)
OF_KERAS = dict(zip(KERAS_VARIABLES, ("a:1,b:1", "2", "1"), strict=True))
OF_SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "3",
}  # fmt: skip


@pytest.fixture(autouse=True)
def jax(monkeypatch):
    monkeypatch.setattr(hosts.keras.backend, "backend", lambda: "jax")


def test_one_process():
    assert find_hosts(ALONE, {}) is None
    assert find_hosts(ALONE, OF_SLURM | {"SLURM_NTASKS": "1"}) is None
    in_script = {name: value for name, value in OF_SLURM.items() if name != "SLURM_STEP_NODELIST"}
    assert find_hosts(ALONE, in_script) is None  # where sbatch has started one process, which has not called srun


def test_flags_win_over_variables_and_those_of_keras_over_slurm():
    assert find_hosts(GIVEN, OF_KERAS | OF_SLURM) == Hosts("node1:1234", 4, 2)
    assert find_hosts(ALONE, OF_KERAS | OF_SLURM) == Hosts("a:1", 2, 1)
    assert find_hosts(ALONE, OF_SLURM) == Hosts("node1:61447", 8, 3)
    assert find_hosts(GIVEN, {}).machine == "node1" and find_hosts(ALONE, OF_KERAS).machine == "a"


@pytest.mark.parametrize("listed, first", [
    ("node1", "node1"), ("a7,b2", "a7"), ("node[001-004,007],b2", "node001"), ("gpu-[3,5]", "gpu-3"), ("a-b.c,d[1-2]", "a-b.c"),
])  # fmt: skip
def test_the_first_machine_of_slurms_list(listed, first):
    variables = OF_SLURM | {"SLURM_STEP_NODELIST": listed, "SLURM_JOB_ID": "4097"}
    assert find_hosts(ALONE, variables).address == f"{first}:61441"


@pytest.mark.parametrize("wrong", [{KERAS_VARIABLES[0]: "a:1"}, OF_KERAS | {KERAS_VARIABLES[1]: "two"}])
def test_half_of_the_variables(wrong):
    with pytest.raises(ValueError, match="missing or no number, expected KERAS_DISTRIBUTION_JOB_ADDRESSES, "):
        find_hosts(ALONE, wrong)


def test_only_jax_trains_in_several(monkeypatch):
    monkeypatch.setattr(hosts.keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="found 4 processes on the tensorflow backend, expected JAX"):
        find_hosts(GIVEN, {})


@pytest.mark.parametrize(
    "values",
    [{"hosts": "a:1"}, {"hosts": "a:1", "num_hosts": 2}, {"hosts": "a:1", "num_hosts": 2, "host_id": 2}, {"host_id": 0}],
)
def test_flags_that_lack_others(values):
    with pytest.raises(ValueError, match="expected all three, as in --hosts node1:1234 --num-hosts 4 --host-id 2"):
        TrainSettings(**values)
