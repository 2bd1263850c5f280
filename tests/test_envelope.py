import pytest

from app.envelope import (
    KEY_BYTES,
    KeyEncryptionKeys,
    UnknownKeyEncryptionKey,
    Unopenable,
    WrappedKey,
    kek_id,
    new_key,
    seal,
    unseal,
)

OLD, NEW, OTHER = (bytes([number]) * KEY_BYTES for number in (1, 2, 3))
SECRET = b"a secret of alice"
BOUND = ("access-key", "PGSV1", "111111111111", "alice")
SEALED = seal(OLD, SECRET, *BOUND)


def keys(*given: bytes) -> KeyEncryptionKeys:
    return KeyEncryptionKeys(lambda: list(given))


@pytest.mark.parametrize("plaintext", [b"", b"\0", SECRET, bytes(100_000)], ids=len)
def test_what_is_sealed_opens_again(plaintext: bytes) -> None:
    assert unseal(OLD, seal(OLD, plaintext, *BOUND), *BOUND) == plaintext


def test_no_two_seals_are_alike_and_none_shows_the_secret() -> None:
    seals = [seal(OLD, SECRET, *BOUND) for _ in range(100)]
    assert len({sealed[:12] for sealed in seals}) == 100
    assert not any(SECRET in sealed for sealed in seals)


@pytest.mark.parametrize(
    ("key", "sealed", "bound_to"),
    [
        pytest.param(OTHER, SEALED, BOUND, id="another key"),
        pytest.param(OLD, SEALED, ("access-key", "PGSV2", *BOUND[2:]), id="another row"),
        pytest.param(OLD, SEALED, (*BOUND[:3], "bob"), id="another owner"),
        pytest.param(OLD, SEALED, (*BOUND[:2], "222222222222", "alice"), id="another account"),
        pytest.param(OLD, SEALED, ("kms-key", *BOUND[1:]), id="another kind"),
        pytest.param(OLD, SEALED, BOUND[:3], id="no owner"),
        pytest.param(OLD, SEALED, (*BOUND, ""), id="one name more"),
        pytest.param(OLD, SEALED, ("access-keyPGSV1", *BOUND[2:]), id="names that join to the same"),
        pytest.param(OLD, SEALED, ('access-key","PGSV1', *BOUND[2:]), id="names that quote themselves"),
        pytest.param(OLD, b"", BOUND, id="nothing"),
        pytest.param(OLD, SEALED[:12], BOUND, id="a nonce alone"),
        pytest.param(OLD, SEALED + b"\0", BOUND, id="a byte more"),
        pytest.param(OLD, SEALED[12:] + SEALED[:12], BOUND, id="parts swapped"),
        pytest.param(OLD[:-1], SEALED, BOUND, id="a key too short"),
    ],
)
def test_nothing_opens_in_another_place_or_under_another_key(
    key: bytes, sealed: bytes, bound_to: tuple[str, ...]
) -> None:
    with pytest.raises(Unopenable):
        unseal(key, sealed, *bound_to)


def test_no_byte_may_change_or_be_missing() -> None:
    changed = [SEALED[:i] + bytes([SEALED[i] ^ 1]) + SEALED[i + 1 :] for i in range(len(SEALED))]
    for sealed in changed + [SEALED[:length] for length in range(len(SEALED))]:
        with pytest.raises(Unopenable):
            unseal(OLD, sealed, *BOUND)


def test_what_cannot_be_opened_is_named_without_its_key() -> None:
    with pytest.raises(Unopenable, match=r"^Cannot open what belongs to access-key PGSV1 111111111111 alice$"):
        unseal(OTHER, SEALED, *BOUND)


def test_new_keys_differ() -> None:
    made = {new_key() for _ in range(100)}
    assert (len(made), {len(key) for key in made}) == (100, {KEY_BYTES})


def test_ids_tell_keys_apart_and_say_nothing_of_them() -> None:
    ids = {kek_id(key) for key in (OLD, NEW, OTHER)}
    assert (len(ids), {len(one) for one in ids}) == (3, {16})
    assert kek_id(OLD) == kek_id(bytes(OLD))
    assert kek_id(OLD) not in OLD.hex()


def test_the_first_key_wraps_and_all_unwrap() -> None:
    wrapped = keys(OLD).wrap(SECRET, "account", "1")
    both = keys(NEW, OLD)
    assert (wrapped.kek_id, both.current) == (kek_id(OLD), kek_id(NEW))
    assert both.unwrap(wrapped, "account", "1") == SECRET
    again = both.wrap(SECRET, "account", "1")
    assert again.kek_id == kek_id(NEW)
    assert keys(NEW).unwrap(again, "account", "1") == SECRET


def test_a_wrapped_key_is_bound_to_the_id_of_its_wrapping_key() -> None:
    """Else whoever writes to the database could have a key opened as one of another KEK."""
    wrapped = keys(OLD).wrap(SECRET, "account", "1")
    with pytest.raises(Unopenable):
        keys(NEW, OLD).unwrap(WrappedKey(kek_id(NEW), wrapped.ciphertext), "account", "1")
    with pytest.raises(Unopenable):
        keys(OLD).unwrap(wrapped, "account", "2")


def test_an_unknown_key_is_looked_for_once_more() -> None:
    source = [OLD]
    held = KeyEncryptionKeys(lambda: list(source))
    wrapped = keys(NEW).wrap(SECRET, "account", "1")
    source[:] = [NEW, OLD]
    assert held.unwrap(wrapped, "account", "1") == SECRET
    assert held.current == kek_id(NEW)


def test_rotations_may_follow_each_other_at_once() -> None:
    source = [OLD]
    held = KeyEncryptionKeys(lambda: list(source))
    for key in (NEW, OTHER, OLD):
        source[:] = [key]
        assert held.unwrap(keys(key).wrap(SECRET, "account", "1"), "account", "1") == SECRET


def test_a_key_that_stays_missing_is_not_looked_for_by_every_request() -> None:
    loads = 0

    def load() -> list[bytes]:
        nonlocal loads
        loads += 1
        return [OLD]

    held = KeyEncryptionKeys(load)
    for _ in range(100):
        with pytest.raises(UnknownKeyEncryptionKey):
            held.unwrap(keys(OTHER).wrap(SECRET, "account", "1"), "account", "1")
    assert 2 <= loads < 10


def test_a_key_that_is_nowhere_is_named() -> None:
    wrapped = keys(OTHER).wrap(SECRET, "account", "1")
    with pytest.raises(UnknownKeyEncryptionKey, match=f"^Key-encryption key {kek_id(OTHER)} is missing$"):
        keys(OLD, NEW).unwrap(wrapped, "account", "1")


def test_a_source_that_fails_while_the_server_runs_costs_no_key() -> None:
    class SourceFailed(Exception):
        pass

    failing = False

    def load() -> list[bytes]:
        if failing:
            raise SourceFailed
        return [OLD]

    held = KeyEncryptionKeys(load)
    failing = True
    with pytest.raises(SourceFailed):
        held.unwrap(keys(NEW).wrap(SECRET, "account", "1"), "account", "1")
    assert held.unwrap(keys(OLD).wrap(SECRET, "account", "1"), "account", "1") == SECRET


def test_keys_are_not_shown() -> None:
    held = keys(OLD, NEW)
    shown = f"{held!r} {held} {held.wrap(SECRET, 'account', '1')!r}"
    assert not any(part in shown for part in (repr(OLD)[2:-1], OLD.hex(), repr(NEW)[2:-1], NEW.hex(), SECRET.decode()))
