"""The experiments of `scripts/faults` that are fast, with few repetitions; what each breaks stands in its docstring."""

import pytest

from scripts.fault_injection.catalogue import EXPERIMENTS, GROUPS, Experiment
from scripts.fault_injection.execution import perform
from scripts.fault_injection.options import Options
from scripts.testbed.progress import quiet_steps

FAST = [experiment for experiment in EXPERIMENTS.values() if experiment.fast]


@pytest.mark.parametrize("experiment", FAST, ids=lambda experiment: experiment.name)
def test_clients_lose_nothing_and_are_told_the_truth_when(experiment: Experiment) -> None:
    with quiet_steps() as steps, steps.step(experiment.name) as step:
        result = perform(experiment, step, Options(short=True))
    assert result.failed == []
    assert result.verdict == "passed"


def test_every_experiment_says_what_it_breaks_and_has_a_name_of_its_own() -> None:
    assert all(experiment.what for experiment in EXPERIMENTS.values())
    assert len(EXPERIMENTS) == sum(map(len, GROUPS.values()))
    assert not EXPERIMENTS.keys() & GROUPS.keys()
