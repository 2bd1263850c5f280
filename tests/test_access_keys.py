import re
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from rich.pretty import pretty_repr

from app.access_keys import (
    AccessKey,
    account_key,
    hash_token,
    new_account_key,
    new_secret,
    open_access_key,
    seal_secret,
)
from app.database.access_keys import SealedAccessKey
from app.envelope import KeyEncryptionKeys, Unopenable, new_key
from app.policy.principals import Principal, root_user, user_arn
from app.unique_ids import ACCESS_KEY, TEMPORARY_ACCESS_KEY, USER, new_id

KEK = new_key()
KEYS = KeyEncryptionKeys(lambda: [KEK])
ACCOUNT, OTHER_ACCOUNT = "111111111111", "222222222222"
SECRET = "hidden-secret"
WRAPPED, OTHER_WRAPPED = (new_account_key(KEYS, account) for account in (ACCOUNT, OTHER_ACCOUNT))


def user(name: str, account_id: str = ACCOUNT, user_id: str | None = None) -> Principal:
    return Principal(user_arn(account_id, name), account_id, user_id or f"id-of-{name}", name)


ALICE, BOB, ROOT = user("alice"), user("bob"), root_user(ACCOUNT)


def sealed(owner: Principal, access_key_id: str = "PGSV1") -> SealedAccessKey:
    return SealedAccessKey(
        access_key_id=access_key_id,
        principal=owner,
        status="Active",
        sealed_secret=seal_secret(account_key(KEYS, ACCOUNT, WRAPPED), access_key_id, owner, SECRET),
        account_data_key=WRAPPED,
        token_hash=None,
        expiration_time=None,
    )


@pytest.mark.parametrize("owner", [ALICE, ROOT], ids=["a user", "a root user"])
def test_a_secret_opens_for_its_owner(owner: Principal) -> None:
    opened = open_access_key(KEYS, sealed(owner))
    assert opened == AccessKey("PGSV1", SECRET, owner)
    assert opened.active


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"access_key_id": "PGSV2"}, id="another row"),
        pytest.param({"principal": BOB}, id="another user"),
        pytest.param({"principal": ROOT}, id="the root user"),
        pytest.param({"principal": user("alice", user_id="successor")}, id="a successor of the same name"),
        pytest.param({"principal": user("alice", OTHER_ACCOUNT)}, id="another account"),
        pytest.param(
            {"principal": user("alice", OTHER_ACCOUNT), "account_data_key": OTHER_WRAPPED},
            id="another account and its data key",
        ),
        pytest.param({"account_data_key": OTHER_WRAPPED}, id="the data key of another account"),
        pytest.param({"sealed_secret": sealed(BOB).sealed_secret}, id="a secret of another user"),
        pytest.param({"sealed_secret": b""}, id="no secret"),
    ],
)
def test_no_secret_opens_in_another_row_or_for_another_owner(changes: dict[str, object]) -> None:
    with pytest.raises(Unopenable):
        open_access_key(KEYS, replace(sealed(ALICE), **changes))


def test_a_renamed_user_keeps_the_key() -> None:
    renamed = user("alicia", user_id=ALICE.user_id)
    assert open_access_key(KEYS, replace(sealed(ALICE), principal=renamed)).secret_access_key == SECRET


def test_state_and_end_come_from_the_row() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    row = replace(sealed(ALICE), status="Inactive", token_hash=hash_token("token"), expiration_time=end)
    opened = open_access_key(KEYS, row)
    assert (opened.active, opened.expiration_time, opened.accepts_token("token")) == (False, end, True)


@pytest.mark.parametrize(
    ("token_hash", "token", "accepted"),
    [
        pytest.param(None, None, True, id="a long-lived key alone"),
        pytest.param(None, "token", False, id="a token beside a long-lived key"),
        pytest.param(None, "", False, id="an empty token beside a long-lived key"),
        pytest.param(hash_token("token"), "token", True, id="the right token"),
        pytest.param(hash_token("token"), "Token", False, id="another token"),
        pytest.param(hash_token("token"), "", False, id="an empty token"),
        pytest.param(hash_token("token"), None, False, id="no token"),
        pytest.param(hash_token(""), None, False, id="no token where even the empty one would do"),
        pytest.param(hash_token("token"), hash_token("token").hex(), False, id="the hash itself"),
    ],
)
def test_temporary_keys_come_with_their_token_and_others_without(
    token_hash: bytes | None,
    token: str | None,
    accepted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert AccessKey("PGST1", SECRET, ALICE, token_hash=token_hash).accepts_token(token) is accepted


def test_secrets_are_as_long_as_aws_ones_and_differ() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{40}", secret) for secret in secrets)


@pytest.mark.parametrize("prefix", [USER, ACCESS_KEY, TEMPORARY_ACCESS_KEY])
def test_ids_tell_their_kind_and_differ(prefix: str) -> None:
    ids = {new_id(prefix) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(f"{prefix}[A-Z2-7]{{16}}", one) for one in ids)


def test_secrets_are_not_shown() -> None:
    opened = open_access_key(KEYS, sealed(ALICE))
    shown = f"{opened!r} {opened} {pretty_repr(opened)} {pretty_repr([opened])} {sealed(ALICE)!r}"
    assert ALICE.arn in shown
    assert SECRET not in shown
