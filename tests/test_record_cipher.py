import pytest

from app.envelope import Unopenable
from app.record_cipher import RecordCipher

KEY = b"\1" * 32
CIPHER = RecordCipher(42, KEY)
TEXT = '{"text": "hidden"}'
SEALED = CIPHER.seal("k", TEXT)


@pytest.mark.parametrize("text", ["{}", TEXT, '{"é": "\\u0000 中 🎈"}', f'{{"text": "{"x" * 40_000}"}}'], ids=len)
@pytest.mark.parametrize("key", ["k", "", "a/b", "中" * 341])
def test_what_is_sealed_opens_again(key: str, text: str) -> None:
    assert CIPHER.unseal(key, CIPHER.seal(key, text)) == text


def test_no_two_records_are_sealed_alike_and_none_shows_its_text() -> None:
    seals = {CIPHER.seal("k", TEXT) for _ in range(100)}
    assert len(seals) == 100
    assert not any(b"hidden" in sealed for sealed in seals)


@pytest.mark.parametrize(
    ("cipher", "key", "sealed"),
    [
        pytest.param(CIPHER, "j", SEALED, id="another vector"),
        pytest.param(CIPHER, "K", SEALED, id="another case"),
        pytest.param(RecordCipher(43, KEY), "k", SEALED, id="another index"),
        pytest.param(RecordCipher(42, b"\2" * 32), "k", SEALED, id="another key"),
        pytest.param(RecordCipher(4, KEY), "2/k", SEALED, id="digits moved"),
        pytest.param(CIPHER, "k", b"", id="nothing"),
        pytest.param(CIPHER, "k", SEALED[:12], id="a nonce alone"),
        pytest.param(CIPHER, "k", SEALED[:-1], id="a byte less"),
        pytest.param(CIPHER, "k", SEALED + b"\0", id="a byte more"),
    ],
)
def test_nothing_opens_in_another_place(cipher: RecordCipher, key: str, sealed: bytes) -> None:
    with pytest.raises(Unopenable):
        cipher.unseal(key, sealed)


def test_no_byte_may_change() -> None:
    for i in range(len(SEALED)):
        with pytest.raises(Unopenable):
            CIPHER.unseal("k", SEALED[:i] + bytes([SEALED[i] ^ 1]) + SEALED[i + 1 :])


def test_the_key_is_not_shown() -> None:
    assert repr(KEY)[2:-1] not in f"{CIPHER!r} {CIPHER}"
