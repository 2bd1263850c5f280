"""What operators change is in the audit log, beside what clients do."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.cli.audit import user
from tests.cli.test_iam import ALLOW, HOME, TENANT, Command, Deployment, deployed

USER = f"arn:aws:iam::{TENANT}:user/ana"


@pytest.fixture(scope="module")
def deployment(copied_database: Callable[[], str]) -> Iterator[Deployment]:
    with deployed(copied_database()) as deployment:
        deployment.command("iam", "account", "create", TENANT, "--name", "tenant")
        deployment.command("iam", "user", "create", "ana", "--account", TENANT)
        yield deployment


def records(deployment: Deployment) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (deployment.data_dir / "audit.log").read_text().splitlines()]


def recorded(deployment: Deployment, *arguments: str, stdin: str = "") -> tuple[str, dict[str, Any]]:
    """What a command printed, and the one record of it."""
    before = len(records(deployment))
    printed = deployment.command(*arguments, stdin=stdin)
    [record] = records(deployment)[before:]
    return printed, record


OF_TENANT = ("--account", TENANT)
NAMED = {"userName": "ana"}


@pytest.mark.parametrize(
    ("arguments", "event", "parameters"),
    [
        (
            ("user", "tag", "ana", *OF_TENANT, "--tag", "team=red"),
            "TagUser",
            NAMED | {"tags": [{"key": "team", "value": "red"}]},
        ),
        (("user", "tag", "ana", *OF_TENANT), "TagUser", NAMED | {"tags": []}),
        (
            ("policy", "put", "ana", "list", "/dev/stdin", *OF_TENANT),
            "PutUserPolicy",
            NAMED | {"policyName": "list", "policyDocument": ALLOW},
        ),
        (("policy", "delete", "ana", "list", *OF_TENANT), "DeleteUserPolicy", NAMED | {"policyName": "list"}),
    ],
    ids=["tag", "no tags", "policy", "no policy"],
)
def test_a_change_of_a_user_is_recorded(
    deployment: Deployment, arguments: tuple[str, ...], event: str, parameters: dict[str, Any]
) -> None:
    if event == "DeleteUserPolicy":
        deployment.command("iam", "policy", "put", "ana", "list", "/dev/stdin", *OF_TENANT, stdin=ALLOW)
    _, record = recorded(deployment, "iam", *arguments, stdin=ALLOW)
    assert (record["eventSource"], record["eventName"]) == ("iam.amazonaws.com", event)
    assert record["requestParameters"] == parameters
    assert record["resources"] == [{"type": "AWS::IAM::User", "ARN": USER, "accountId": TENANT}]


def test_a_record_says_who_changed_what_and_where(deployment: Deployment) -> None:
    _, record = recorded(deployment, "iam", "user", "create", "bob")
    assert record["userIdentity"] == {"type": "Unknown", "userName": user()}
    assert record["sourceIPAddress"] == socket.gethostname()
    assert record["userAgent"] == "pgs3vectors"
    assert (record["readOnly"], record["managementEvent"], record["recipientAccountId"]) == (False, True, HOME)
    assert recorded(deployment, "iam", "user", "delete", "bob")[1]["eventName"] == "DeleteUser"


def test_accounts_come_and_go(deployment: Deployment) -> None:
    account_id = "777777777777"
    created, closed = (recorded(deployment, "iam", "account", verb, account_id)[1] for verb in ("create", "delete"))
    assert (created["eventName"], closed["eventName"]) == ("CreateAccount", "CloseAccount")
    assert {created["recipientAccountId"], closed["recipientAccountId"]} == {account_id}


def test_keys_are_recorded_by_their_ids_alone(deployment: Deployment) -> None:
    printed, created = recorded(deployment, "iam", "key", "create", "ana", *OF_TENANT, "--json")
    key = json.loads(printed)
    assert created["eventName"] == "CreateAccessKey"
    assert created["responseElements"] == {"accessKey": {"accessKeyId": key["AccessKeyId"], "status": "Active"}}
    changes = [recorded(deployment, "iam", "key", verb, key["AccessKeyId"])[1] for verb in ("deactivate", "delete")]
    assert [(c["eventName"], c["requestParameters"].get("status")) for c in changes] == [
        ("UpdateAccessKey", "Inactive"),
        ("DeleteAccessKey", None),
    ]
    printed, begun = recorded(deployment, "iam", "session", "create", "ana", *OF_TENANT, "--json")
    session = json.loads(printed)
    assert (begun["eventSource"], begun["eventName"]) == ("sts.amazonaws.com", "GetSessionToken")
    assert begun["requestParameters"] == NAMED | {"durationSeconds": "3600"}
    written = (deployment.data_dir / "audit.log").read_text()
    assert not [
        secret
        for secret in (key["SecretAccessKey"], session["SecretAccessKey"], session["SessionToken"])
        if secret in written
    ]


def test_keys_of_kms_are_recorded(deployment: Deployment) -> None:
    printed, created = recorded(deployment, "kms", "create", "--description", "of the tests")
    arn = printed.strip()
    assert created["resources"] == [{"type": "AWS::KMS::Key", "ARN": arn, "accountId": HOME}]
    verbs = ("disable", "enable", "schedule-deletion", "cancel-deletion")
    changes = [recorded(deployment, "kms", verb, arn)[1] for verb in verbs]
    assert [change["eventName"] for change in changes] == [
        "DisableKey",
        "EnableKey",
        "ScheduleKeyDeletion",
        "CancelKeyDeletion",
    ]
    assert "deletionDate" in changes[2]["responseElements"]


@pytest.mark.parametrize(
    "arguments", [("iam", "user", "list"), ("iam", "key", "list"), ("kms", "list"), ("iam", "account", "list")], ids=str
)
def test_who_only_looks_is_not_recorded(deployment: Deployment, arguments: tuple[str, ...]) -> None:
    before = records(deployment)
    deployment.command(*arguments)
    assert records(deployment) == before


def test_what_is_refused_changes_nothing_and_is_not_recorded(deployment: Deployment) -> None:
    before = records(deployment)
    deployment.command.refusal("iam", "user", "create", "ana", *OF_TENANT)
    assert records(deployment) == before


@pytest.mark.parametrize(("destination", "lines"), [("stdout", 1), ("off", 0)])
def test_the_answer_of_a_command_stays_its_own(deployment: Deployment, destination: str, lines: int) -> None:
    done = Command(**deployment.command.settings, AUDIT_LOG=destination).run(
        "iam", "user", "create", f"in-{destination}"
    )
    assert done.stdout == f"arn:aws:iam::{HOME}:user/in-{destination}\n"
    assert [json.loads(line)["eventName"] for line in done.stderr.splitlines()] == ["CreateUser"] * lines


def test_a_change_is_made_even_if_its_record_is_lost(deployment: Deployment) -> None:
    done = Command(**deployment.command.settings, AUDIT_LOG="/dev/full").run("iam", "user", "create", "full")
    assert (done.returncode, done.stdout) == (0, f"arn:aws:iam::{HOME}:user/full\n")
    assert "audit_records_lost" in done.stderr
