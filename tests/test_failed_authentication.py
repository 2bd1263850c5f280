from contextlib import AbstractContextManager, nullcontext
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from app.errors import TooManyRequestsException
from app.failed_authentication import FailedAuthentication, network_of
from app.rate_limits import Rate
from app.settings import Settings
from tests.identities import EVERYTHING, Identities, client

RARELY = 1e-9
ALICE, ELSEWHERE, BOB = ("10.0.0.1", "ALICE"), ("10.0.0.2", "ALICE"), ("10.0.0.1", "BOB")


@pytest.fixture
def failures() -> FailedAuthentication:
    return FailedAuthentication(Rate(RARELY, burst=6), Rate(RARELY, burst=3))


def refused() -> AbstractContextManager[object]:
    return pytest.raises(TooManyRequestsException)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        pytest.param(ALICE, refused(), id="the key from that address"),
        pytest.param(ELSEWHERE, nullcontext(), id="the key from another address"),
        pytest.param(BOB, nullcontext(), id="another key from that address"),
    ],
)
def test_a_key_that_fails_too_often_from_an_address_waits(
    failures: FailedAuthentication, who: tuple[str, str], expected: AbstractContextManager[object]
) -> None:
    for _ in range(3):
        failures.check(*ALICE)
        failures.failed(*ALICE)
    with expected:
        failures.check(*who)


def test_an_address_that_fails_too_often_waits_whatever_it_claims(failures: FailedAuthentication) -> None:
    for i in range(6):
        failures.failed("10.0.0.1", str(i))
    with refused():
        failures.check(*ALICE)
    failures.check(*ELSEWHERE)
    assert failures.count == 6


def test_whoever_has_proved_to_hold_the_key_is_not_locked_out_by_others(failures: FailedAuthentication) -> None:
    failures.succeeded(*ALICE)
    for _ in range(20):
        failures.failed(*ALICE)
    failures.check(*ALICE)
    with refused():
        failures.check(*BOB)


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::", True),
        ("2001:db8:1:2:3::4", "2001:db8:1:3::", False),
        ("", "", True),
    ],
)
def test_an_address_stands_for_one_customer(address: str, other: str, same: bool) -> None:  # noqa: FBT001 - a case
    assert (network_of(address) == network_of(other)) == same


def test_a_stranger_is_told_to_wait_and_users_are_served(
    endpoint: str, settings: Settings, identities: Identities
) -> None:
    user = identities.user(settings.account_id, f"u{uuid4().hex[:8]}", EVERYTHING)
    for _ in range(8):  # to both workers
        client(endpoint, **user).list_vector_buckets()
    stranger = client(endpoint, aws_access_key_id=f"PGSV{uuid4().hex}", aws_secret_access_key="x" * 40)
    codes = []
    while "TooManyRequestsException" not in codes:
        codes.append(code_of(stranger))
    assert set(codes[:-1]) == {"UnrecognizedClientException"}
    client(endpoint, **user).list_vector_buckets()


def code_of(stranger: object) -> str:
    with pytest.raises(ClientError) as raised:
        stranger.list_vector_buckets()  # type: ignore[attr-defined]
    code: str = raised.value.response["Error"]["Code"]
    return code
