import json
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import msgspec
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from msgspec import Struct

from tests.conftest import open_directory
from tests.server_process import ROOT, environment, running

HOME, TENANT, EMPTY, NOBODY = "000000000000", "111111111111", "888888888888", "999999999999"
ALLOW = '{"Statement": {"Effect": "Allow", "Action": "s3vectors:ListVectorBuckets", "Resource": "*"}}'
DENY = ALLOW.replace("Allow", "Deny")

# More than one worker will ever get by chance alone.
REQUESTS = 8


# Imports take most of the time of a command: here a process that has done them becomes each command by a fork.
FORKING = """
import json, os, sys
from app.cli import main
for line in sys.stdin:
    arguments, files = json.loads(line)
    if (pid := os.fork()) == 0:
        for number, file in enumerate(files):
            os.dup2(os.open(file, os.O_RDWR), number)
        sys.argv[1:] = arguments
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Done(Struct):
    returncode: int
    stdout: str
    stderr: str


class Command:
    """The real `pgs3vectors` with its settings."""

    def __init__(self, **settings: str) -> None:
        self.settings = settings

    def run(self, *arguments: str, stdin: str = "") -> Done:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "app.cli", *arguments],
            env=environment(**self.settings),
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What a command that succeeds prints."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return msgspec.json.decode(self(*arguments, "--json"))

    def refusal(self, *arguments: str, stdin: str = "") -> str:
        """The one line of a command that is refused."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert done.stderr.startswith("pgs3vectors: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.removeprefix("pgs3vectors: ").removesuffix("\n")


class ForkedCommand(Command):
    """Faster."""

    def __init__(self, **settings: str) -> None:
        super().__init__(**settings)
        self.parent = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-c", FORKING],
            env=environment(**settings),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: str = "") -> Done:
        assert self.parent.stdin
        assert self.parent.stdout
        with tempfile.TemporaryDirectory() as directory:
            files = [Path(directory, name) for name in ("stdin", "stdout", "stderr")]
            for file, text in zip(files, (stdin, "", ""), strict=True):
                file.write_text(text)
            self.parent.stdin.write(json.dumps([arguments, [str(file) for file in files]]) + "\n")
            self.parent.stdin.flush()
            return Done(int(self.parent.stdout.readline()), files[1].read_text(), files[2].read_text())

    def close(self) -> None:
        self.parent.communicate(timeout=60)


class Deployment(Struct):
    """A server of two workers, and the command on the same database."""

    url: str
    endpoint: str
    data_dir: Path
    command: Command

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def client(self, key: dict[str, str], **changed: str) -> Any:
        """Signs with what `iam key create --json` printed; every request has a connection, and thus a worker, anew."""
        key = key | changed
        client = boto3.client(
            "s3vectors",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        client.meta.events.register("before-send.s3vectors.*", _close_connection)
        return client


def _close_connection(request: Any, **_: Any) -> None:
    request.headers["Connection"] = "close"


@contextmanager
def deployed(url: str, **settings: str) -> Iterator[Deployment]:
    with open_directory() as directory:
        settings = {"DATABASE_URL": url, "DATA_DIR": str(directory / "data"), "LOG_LEVEL": "error"} | settings
        with running("--workers", "2", **settings) as server:
            server.wait_until_ready()
            with closing(ForkedCommand(**settings)) as command:
                yield Deployment(url, server.endpoint, directory / "data", command)


def answers(call: Callable[[], Any]) -> set[str]:
    """Of many requests, which reach both workers."""
    return {answer(call) for _ in range(REQUESTS)}


def answer(call: Callable[[], Any]) -> str:
    try:
        call()
    except ClientError as error:
        told: Any = error.response
        return f"{told['ResponseMetadata']['HTTPStatusCode']} {told['Error']['Code']}: {told['Error']['Message']}"
    return "200"


DENIED = (
    "403 AccessDeniedException: User: {} is not authorized to perform: s3vectors:ListVectorBuckets on resource: * "
    "because no identity-based policy allows the s3vectors:ListVectorBuckets action"
)
EXPLICITLY_DENIED = (
    "403 AccessDeniedException: User: {} is not authorized to perform: s3vectors:ListVectorBuckets on resource: * "
    "with an explicit deny in an identity-based policy"
)
UNKNOWN_KEY = "403 UnrecognizedClientException: The security token included in the request is invalid."
WRONG_TOKEN = "403 UnrecognizedClientException: The security token included in the request is invalid"
EXPIRED = "403 ExpiredTokenException: The security token included in the request is expired"


@pytest.fixture(scope="module")
def deployment(copied_database: Callable[[], str]) -> Iterator[Deployment]:
    with deployed(copied_database()) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def command(deployment: Deployment) -> Command:
    """With a tenant who has a user with two keys and a policy."""
    command = deployment.command
    command("iam", "account", "create", TENANT, "--name", "Tenant [1]")
    command("iam", "account", "create", EMPTY)
    command("iam", "user", "create", "Alice", "--account", TENANT, "--tag", "team=[/red]", "--tag", "empty=")
    command("iam", "policy", "put", "alice", "list", "/dev/stdin", "--account", TENANT, stdin=ALLOW)
    for _ in range(2):
        command("iam", "key", "create", "ALICE", "--account", TENANT)
    return command


def test_accounts_are_listed(command: Command) -> None:
    rows = command.json("iam", "account", "list")
    assert [(row["account_id"], row["name"]) for row in rows][:2] == [(HOME, "home"), (TENANT, "Tenant [1]")]
    assert all(datetime.fromisoformat(row["creation_time"]).tzinfo for row in rows)
    heading, *lines = command("iam", "account", "list").splitlines()
    assert heading.split("  ")[0] == "account id"
    assert [" ".join(line.split()[:-2]) for line in lines][:2] == [f"{HOME} home", f"{TENANT} Tenant [1]"]


def test_users_are_listed(command: Command) -> None:
    [row] = command.json("iam", "user", "list", "--account", TENANT)
    arn = f"arn:aws:iam::{TENANT}:user/Alice"
    user_id = row.pop("user_id")
    assert row == {"user_name": "Alice", "arn": arn, "tags": {"team": "[/red]", "empty": ""}}
    _, line = command("iam", "user", "list", "--account", TENANT).splitlines()
    assert line.split() == ["Alice", user_id, arn, "team=[/red],", "empty="]
    assert command.json("iam", "user", "list", "--account", EMPTY) == []
    assert command("iam", "user", "list", "--account", EMPTY).split() == []


def test_keys_are_listed_without_their_secrets(command: Command) -> None:
    rows = command.json("iam", "key", "list", "--account", TENANT)
    assert [(row["user_name"], row["status"], row["last_used_time"]) for row in rows] == [("Alice", "Active", None)] * 2
    assert not any("secret" in name for name in rows[0])
    _, line, _ = command("iam", "key", "list", "--account", TENANT).splitlines()
    assert line.split()[:3] == [rows[0]["access_key_id"], "Alice", "Active"]


def test_policies_are_listed_and_shown_as_they_were_put(command: Command) -> None:
    of_alice = ("alice", "--account", TENANT)
    assert command.json("iam", "policy", "list", *of_alice) == [{"policy_name": "list", "statements": 1}]
    assert command("iam", "policy", "list", *of_alice).split() == ["policy", "name", "statements", "list", "1"]
    assert command("iam", "policy", "get", "alice", "list", *of_alice[1:]) == ALLOW + "\n"


def test_a_policy_that_somebody_broke_in_sql_can_be_listed_and_replaced(
    command: Command, deployment: Deployment
) -> None:
    command("iam", "user", "create", "broken")
    command("iam", "policy", "put", "broken", "p", "/dev/stdin", stdin=ALLOW)
    deployment.sql("UPDATE s3_vectors.user_policies SET document = '{' WHERE document LIKE '%' AND policy_name = 'p'")
    assert command.json("iam", "policy", "list", "broken") == [{"policy_name": "p", "statements": None}]
    assert command("iam", "policy", "get", "broken", "p") == "{\n"
    command("iam", "policy", "put", "broken", "p", "/dev/stdin", stdin=DENY)
    assert command.json("iam", "policy", "list", "broken") == [{"policy_name": "p", "statements": 1}]
    command("iam", "user", "delete", "broken", "--force")


TWO_POLICIES = f"arn:aws:iam::{TENANT}:user/Alice has 2 access keys and 1 policies; --force deletes them too."
NAME = "A user's name has up to 64 letters, digits and +=,.@_-"
POLICY_NAME = "A policy's name has up to 128 letters, digits and +=,.@_-"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("account create 42", "An account has 12 digits."),
        ("account create 00000000000a", "An account has 12 digits."),
        ("account create ١١١١١١١١١١١١", "An account has 12 digits."),  # noqa: RUF001 - digits, but not AWS's
        (f"account create {TENANT}", f"Account {TENANT} exists already."),
        (f"account delete {NOBODY}", f"There is no account {NOBODY}."),
        (f"account delete {HOME}", "The server's own account stays."),
        (f"account delete {TENANT}", f"Account {TENANT} still has users, access keys."),
        ("user create a/b", NAME),
        (f"user create {'a' * 65}", NAME),
        ("user create é", NAME),
        (f"user create alice --account {TENANT}", f"There is a user alice in account {TENANT} already."),
        (f"user create bob --account {NOBODY}", f"There is no account {NOBODY}."),
        ("user create bob --tag team", "A tag is KEY=VALUE."),
        ("user create bob --tag =red", "A tag is KEY=VALUE."),
        ("user create bob --tag Team=a --tag team=b", "The tags of a user must differ in more than their case."),
        ("user tag alice --tag a=1", f"There is no user alice in account {HOME}."),
        (f"user list --account {NOBODY}", f"There is no account {NOBODY}."),
        (f"user delete bob --account {TENANT}", f"There is no user bob in account {TENANT}."),
        (f"user delete alice --account {TENANT}", TWO_POLICIES),
        (
            f"key create alice --account {TENANT}",
            f"arn:aws:iam::{TENANT}:user/Alice has two access keys already; delete one first.",
        ),
        (f"key create bob --account {TENANT}", f"There is no user bob in account {TENANT}."),
        (f"key create --account {NOBODY}", f"There is no account {NOBODY}."),
        ("key deactivate PGSVNONE", "There is no access key PGSVNONE."),
        ("key activate PGSVNONE", "There is no access key PGSVNONE."),
        ("key delete PGSVNONE", "There is no access key PGSVNONE."),
        (f"session create bob --account {TENANT}", f"There is no user bob in account {TENANT}."),
        (
            f"policy get alice other --account {TENANT}",
            f"arn:aws:iam::{TENANT}:user/Alice has no policy other.",
        ),
        (
            f"policy delete alice other --account {TENANT}",
            f"arn:aws:iam::{TENANT}:user/Alice has no policy other.",
        ),
        ("policy list alice", f"There is no user alice in account {HOME}."),
        (f"policy put alice a/b /dev/stdin --account {TENANT}", POLICY_NAME),
        (f"policy put alice p /none --account {TENANT}", "Cannot read /none: No such file or directory."),
        (f"policy put alice p / --account {TENANT}", "Cannot read /: Is a directory."),
        (f"policy put bob p /dev/stdin --account {TENANT}", f"There is no user bob in account {TENANT}."),
        ("user delete \udcff", "Arguments must be text in UTF-8."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(command: Command, arguments: str, expected: str) -> None:
    assert command.refusal("iam", *arguments.split(), stdin=ALLOW) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{", "Policy is not valid JSON"),
        (ALLOW.replace("s3vectors:ListVectorBuckets", "s3vectors:Nonsense"), "Nonsense"),
        (ALLOW.replace('"Resource"', '"Principal": "*", "Resource"'), "Principal is not an element of identity"),
    ],
)
def test_a_policy_is_refused_with_its_reason(command: Command, document: str, expected: str) -> None:
    told = command.refusal("iam", "policy", "put", "alice", "bad", "/dev/stdin", "--account", TENANT, stdin=document)
    assert told.startswith("Invalid policy: ")
    assert expected in told


@pytest.mark.parametrize("arguments", ["session create alice --seconds 899", "session create alice --seconds 129601"])
def test_what_is_used_wrongly_is_explained(command: Command, arguments: str) -> None:
    done = command.run("iam", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "--seconds" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_user_has_at_most_20_policies(command: Command, deployment: Deployment) -> None:
    command("iam", "user", "create", "many")
    deployment.sql(
        "INSERT INTO s3_vectors.user_policies"
        f" SELECT user_id, 'p' || n, '{ALLOW}' FROM s3_vectors.users, generate_series(1, 20) n WHERE user_name = 'many'"
    )
    put = ("iam", "policy", "put", "many")
    assert command.refusal(*put, "p21", "/dev/stdin", stdin=ALLOW) == "A user has at most 20 policies."
    command(*put, "p20", "/dev/stdin", stdin=DENY)
    command("iam", "user", "delete", "many", "--force")


def test_every_change_is_in_force_for_the_next_request_on_every_worker(deployment: Deployment) -> None:
    command, account = deployment.command, ("--account", "222222222222")
    assert command("iam", "account", "create", account[1], "--name", "x") == (
        f"Account {account[1]} created. Its root user's access key: pgs3vectors iam key create --account {account[1]}\n"
    )
    arn = f"arn:aws:iam::{account[1]}:user/carol"
    assert command("iam", "user", "create", "carol", *account) == arn + "\n"
    key = command.json("iam", "key", "create", "carol", *account)
    carol = deployment.client(key).list_vector_buckets
    wrong_secret = deployment.client(key, SecretAccessKey="wrong").list_vector_buckets
    assert answers(carol) == {DENIED.format(arn)}
    changes: list[tuple[str, str, str, str]] = [
        ("policy put carol p /dev/stdin", ALLOW, f"{arn} has the policy p.", "200"),
        ("policy put carol p /dev/stdin", DENY, f"{arn} has the policy p.", EXPLICITLY_DENIED.format(arn)),
        ("policy put carol p /dev/stdin", CONDITION, f"{arn} has the policy p.", DENIED.format(arn)),
        ("user tag carol --tag team=red", "", f"{arn} has 1 tags.", "200"),
        ("user tag carol", "", f"{arn} has 0 tags.", DENIED.format(arn)),
        ("policy put carol p /dev/stdin", ALLOW, f"{arn} has the policy p.", "200"),
        ("key deactivate KEY", "", f"Access key {key['AccessKeyId']} is inactive.", UNKNOWN_KEY),
        ("key activate KEY", "", f"Access key {key['AccessKeyId']} is active.", "200"),
        ("policy delete carol p", "", f"{arn} no longer has the policy p.", DENIED.format(arn)),
        ("key delete KEY", "", f"Access key {key['AccessKeyId']} deleted.", UNKNOWN_KEY),
    ]
    for arguments, stdin, said, then in changes:
        words = arguments.replace("KEY", key["AccessKeyId"]).split()
        words += [] if words[0] == "key" else account
        assert command("iam", *words, stdin=stdin) == said + "\n"
        assert answers(carol) == {then}, arguments
    assert answers(wrong_secret) == {UNKNOWN_KEY}


CONDITION = (
    '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",'
    ' "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}}}}'
)


def test_a_deleted_user_and_account_are_gone_at_once(deployment: Deployment) -> None:
    command, account = deployment.command, ("--account", "333333333333")
    command("iam", "account", "create", account[1])
    command("iam", "user", "create", "dave", *account)
    command("iam", "policy", "put", "dave", "p", "/dev/stdin", *account, stdin=ALLOW)
    dave = deployment.client(command.json("iam", "key", "create", "dave", *account)).list_vector_buckets
    root_key = command.json("iam", "key", "create", *account)
    root = deployment.client(root_key).list_vector_buckets
    assert answers(dave) == answers(root) == {"200"}
    arn = f"arn:aws:iam::{account[1]}:user/dave"
    assert command("iam", "user", "delete", "dave", "--force", *account) == f"{arn} deleted.\n"
    assert answers(dave) == {UNKNOWN_KEY}
    assert answers(root) == {"200"}
    assert command.refusal("iam", "account", "delete", account[1]) == f"Account {account[1]} still has access keys."
    command("iam", "key", "delete", root_key["AccessKeyId"])
    assert answers(root) == {UNKNOWN_KEY}
    assert command("iam", "account", "delete", account[1]) == f"Account {account[1]} deleted.\n"


def test_a_session_ends_and_needs_its_token(deployment: Deployment) -> None:
    command = deployment.command
    command("iam", "user", "create", "erin")
    command("iam", "policy", "put", "erin", "p", "/dev/stdin", stdin=ALLOW)
    session = command.json("iam", "session", "create", "erin", "--seconds", "900")
    assert set(session) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    lasts = datetime.fromisoformat(session["Expiration"]) - datetime.now(UTC)
    assert timedelta(minutes=10) < lasts <= timedelta(minutes=15)
    key = command.json("iam", "key", "create", "erin")
    without_token = {name: value for name, value in session.items() if name != "SessionToken"}
    assert answers(deployment.client(session).list_vector_buckets) == {"200"}
    assert answers(deployment.client(key).list_vector_buckets) == {"200"}
    for wrong in (
        deployment.client(session, SessionToken="wrong"),
        deployment.client(without_token),
        deployment.client(key, SessionToken=session["SessionToken"]),
        deployment.client(key, SessionToken="wrong"),
    ):
        assert answers(wrong.list_vector_buckets) == {WRONG_TOKEN}
    shown = [row["access_key_id"] for row in command.json("iam", "key", "list") if row["user_name"] == "erin"]
    assert sorted(shown) == sorted([key["AccessKeyId"], session["AccessKeyId"]])
    deployment.sql(
        "UPDATE s3_vectors.access_keys SET expiration_time = now() - interval '1 second'"
        f" WHERE access_key_id = '{session['AccessKeyId']}'"
    )
    assert answers(deployment.client(session).list_vector_buckets) == {EXPIRED}
    assert answers(deployment.client(session, SessionToken="wrong").list_vector_buckets) == {WRONG_TOKEN}
    assert session["AccessKeyId"] not in command("iam", "key", "list")
    other = command.json("iam", "session", "create", "erin")
    assert answers(deployment.client(other).list_vector_buckets) == {"200"}
    command("iam", "key", "delete", other["AccessKeyId"])
    assert answers(deployment.client(other).list_vector_buckets) == {UNKNOWN_KEY}


def test_secrets_are_shown_once_and_are_nowhere_in_the_database(deployment: Deployment) -> None:
    command = deployment.command
    command("iam", "user", "create", "frank")
    shown = dict(line.split() for line in command("iam", "key", "create", "frank").splitlines())
    assert set(shown) == {"AccessKeyId", "SecretAccessKey"}
    session = command.json("iam", "session", "create", "frank")
    kek = (deployment.data_dir / "key-encryption-key").read_text().strip()
    secrets = [shown["SecretAccessKey"], session["SecretAccessKey"], session["SessionToken"]]
    stored = dump(deployment)
    assert shown["AccessKeyId"] in stored
    for secret in [text.encode() for text in (*secrets, kek)] + [b64decode(kek)]:
        assert secret.decode("latin-1") not in stored
        assert secret.hex() not in stored
    command("iam", "user", "delete", "frank", "--force")


def dump(deployment: Deployment) -> str:
    """All rows of our schema as text; bytes are in hexadecimal there."""
    tables = deployment.sql("SELECT tablename FROM pg_tables WHERE schemaname = 's3_vectors'")
    return "\n".join(
        str(row) for (table,) in tables for row in deployment.sql(f'SELECT t::text FROM s3_vectors."{table}" t')
    )


def test_with_its_own_postgresql_it_works_beside_the_server_and_without(data_dir: Path) -> None:
    command = Command(DATA_DIR=str(data_dir))
    made = command.run("iam", "account", "create", TENANT)
    assert (made.returncode, made.stdout[:28]) == (0, f"Account {TENANT} created")
    with running("--workers", "2", DATA_DIR=str(data_dir)) as server:
        server.wait_until_ready()
        key = command.json("iam", "key", "create", "--account", TENANT)
        tenant = Deployment("", server.endpoint, data_dir, command).client(key).list_vector_buckets
        assert answers(tenant) == {"200"}
        command("iam", "key", "deactivate", key["AccessKeyId"])
        assert answers(tenant) == {UNKNOWN_KEY}
    [row] = msgspec.json.decode(command.run("iam", "key", "list", "--account", TENANT, "--json").stdout)
    assert (row["access_key_id"], row["status"]) == (key["AccessKeyId"], "Inactive")
    assert row["last_used_time"] is not None
