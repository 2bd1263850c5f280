"""The models of the preview, of general availability and of now, each with all of its operations."""

import re

import pytest

from tests.clients.conftest import run_round
from tests.installations import CLIENTS, MODELS, python_packages

# How many operations each model has.
VERSIONS = {"1.39.7": 16, "1.42.1": 19, "1.44.8": 22}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_round_with_every_model_since_the_preview(
    version: str, client_environment: dict[str, str], bucket_name: str
) -> None:
    """In an environment of its own, without anything of ours."""
    python = python_packages(CLIENTS / f"boto3/boto3-{version}.txt")
    run_round(
        [str(python), "-W", "error", "boto3/boto3_round.py", bucket_name, str(VERSIONS[version])], client_environment
    )


def test_each_list_of_packages_is_of_the_version_that_it_names() -> None:
    lists = {path.stem.removeprefix("boto3-"): path.read_text() for path in MODELS}
    assert lists.keys() == VERSIONS.keys()
    for version, packages in lists.items():
        assert set(re.findall(r"^boto(?:3|core)==(.*)$", packages, re.MULTILINE)) == {version}
