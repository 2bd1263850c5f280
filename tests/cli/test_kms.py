import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.test_iam import HOME, NOBODY, TENANT, Command, Deployment, answer, answers, deployed
from tests.operations.vectors import record

MADE = re.compile(r"arn:aws:kms:us-east-1:([0-9]{12}):key/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n")
GIVEN = f"arn:aws:kms:eu-central-1:{TENANT}:key/mrk-1234abcd"


@pytest.fixture(scope="module")
def deployment(copied_database: Callable[[], str]) -> Iterator[Deployment]:
    with deployed(copied_database()) as deployment:
        deployment.command("iam", "account", "create", TENANT)
        deployment.command("kms", "create", "--account", TENANT, "--key-arn", GIVEN, "--description", "[/] of :tenant:")
        yield deployment


@pytest.fixture(scope="module")
def command(deployment: Deployment) -> Command:
    return deployment.command


def states(command: Command, account_id: str = HOME) -> dict[str, str]:
    return {row["key_arn"]: row["key_state"] for row in command.json("kms", "list", "--account", account_id)}


def due_time(command: Command, arn: str) -> datetime | None:
    [time] = [row["deletion_time"] for row in command.json("kms", "list") if row["key_arn"] == arn]
    return time and datetime.fromisoformat(time)


def test_a_key_is_made_for_its_account(command: Command) -> None:
    for account_id in (HOME, TENANT):
        printed = command("kms", "create", "--account", account_id)
        made = MADE.fullmatch(printed)
        assert made
        assert made[1] == account_id
        assert states(command, account_id)[printed.strip()] == "Enabled"


def test_keys_are_listed(command: Command) -> None:
    row = command.json("kms", "list", "--account", TENANT)[0]
    assert abs(datetime.fromisoformat(row.pop("creation_time")) - datetime.now(UTC)) < timedelta(minutes=10)
    assert row == {"key_arn": GIVEN, "key_state": "Enabled", "description": "[/] of :tenant:", "deletion_time": None}
    heading, line, *_ = command("kms", "list", "--account", TENANT).splitlines()
    assert heading.split("  ")[0] == "key arn"
    assert line.split()[:5] == [GIVEN, "Enabled", "[/]", "of", ":tenant:"]
    assert line.split()[-1] == "-"


def shape(account_id: str = HOME) -> str:
    return f"A key of account {account_id} has an ARN as arn:aws:kms:REGION:{account_id}:key/ID."


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (f"create --account {NOBODY}", f"There is no account {NOBODY}."),
        (f"list --account {NOBODY}", f"There is no account {NOBODY}."),
        (f"create --key-arn {GIVEN}", shape()),
        ("create --key-arn alias/mine", shape()),
        (f"create --key-arn arn:aws:kms:us-east-1:{HOME}:alias/mine", shape()),
        (f"create --key-arn arn:aws:kms:us-east-1:{HOME}:key/", shape()),
        (f"create --account {TENANT} --key-arn arn:aws:kms:us-east-1:{HOME}:key/1", shape(TENANT)),
        (f"create --account {TENANT} --key-arn {GIVEN}", f"There is a key {GIVEN} already."),
        (f"enable {GIVEN}0", f"There is no key {GIVEN}0 that is Enabled or Disabled."),
        (f"disable {GIVEN}0", f"There is no key {GIVEN}0 that is Enabled or Disabled."),
        (f"schedule-deletion {GIVEN}0", f"There is no key {GIVEN}0 that is Enabled or Disabled."),
        (f"cancel-deletion {GIVEN}", f"There is no key {GIVEN} that is PendingDeletion."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(command: Command, arguments: str, expected: str) -> None:
    assert command.refusal("kms", *arguments.split()) == expected


@pytest.mark.parametrize("days", ["6", "31", "soon"])
def test_a_key_is_destroyed_after_7_to_30_days(command: Command, days: str) -> None:
    done = command.run("kms", "schedule-deletion", GIVEN, "--days", days)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--days" in done.stderr
    assert states(command, TENANT)[GIVEN] == "Enabled"


def test_a_key_goes_through_its_states(command: Command) -> None:
    arn = command("kms", "create").strip()
    for verb in ("disable", "disable", "enable", "enable"):
        assert command("kms", verb, arn) == f"{arn} is {verb.title()}d.\n"
        assert states(command)[arn] == f"{verb.title()}d"
    said = command("kms", "schedule-deletion", arn, "--days", "7")
    due = due_time(command, arn)
    assert due
    assert said == f"{arn} is PendingDeletion, and is destroyed at {due:%Y-%m-%d %H:%M:%S} UTC.\n"
    assert abs(due - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=10)
    for verb in ("enable", "disable", "schedule-deletion"):
        assert command.refusal("kms", verb, arn) == f"There is no key {arn} that is Enabled or Disabled."
    assert command("kms", "cancel-deletion", arn) == f"{arn} is Disabled.\n"
    assert (states(command)[arn], due_time(command, arn)) == ("Disabled", None)


def test_a_key_is_destroyed_after_30_days_if_nobody_says_when(command: Command) -> None:
    arn = command("kms", "create").strip()
    command("kms", "schedule-deletion", arn)
    due = due_time(command, arn)
    assert due
    assert abs(due - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=10)


def test_every_change_is_in_force_for_the_next_request_on_every_worker(deployment: Deployment) -> None:
    command = deployment.command
    client = deployment.client(command.json("iam", "key", "create", "--account", TENANT))
    arn = command("kms", "create", "--account", TENANT).strip()
    encryption = {"sseType": "aws:kms", "kmsKeyArn": arn}
    client.create_vector_bucket(vectorBucketName="sealed", encryptionConfiguration=encryption)
    client.create_index(
        vectorBucketName="sealed", indexName="idx", dataType="float32", dimension=2, distanceMetric="cosine"
    )
    index = {"vectorBucketName": "sealed", "indexName": "idx"}

    def put() -> object:
        return client.put_vectors(**index, vectors=[record("k", [1, 2], a=1)])

    assert answers(put) == {"200"}
    for verb, expected in (
        ("disable", f"400 KmsDisabledException: {arn} is disabled."),
        ("enable", "200"),
        ("schedule-deletion", f"400 KmsInvalidStateException: {arn} is pending deletion."),
        ("cancel-deletion", f"400 KmsDisabledException: {arn} is disabled."),
        ("enable", "200"),
    ):
        command("kms", verb, arn)
        assert answers(put) == {expected}, verb


def test_an_account_with_a_key_stays(command: Command) -> None:
    command("iam", "account", "create", "777777777777")
    command("kms", "create", "--account", "777777777777")
    told = command.refusal("iam", "account", "delete", "777777777777")
    assert told == "Account 777777777777 still has KMS keys."


def test_an_account_with_a_bucket_stays(deployment: Deployment) -> None:
    command, account = deployment.command, ("--account", "666666666666")
    command("iam", "account", "create", account[1])
    key = command.json("iam", "key", "create", *account)
    client = deployment.client(key)
    assert answer(lambda: client.create_vector_bucket(vectorBucketName="kept")) == "200"
    command("iam", "key", "delete", key["AccessKeyId"])
    told = command.refusal("iam", "account", "delete", account[1])
    assert told == f"Account {account[1]} still has vector buckets."
