import pytest
from psycopg.conninfo import conninfo_to_dict

from app.database.engine import Database
from app.database.link import linked


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("postgresql://h/d", ("5", "15000"), id="nothing said"),
        pytest.param("postgresql://h/d?connect_timeout=60", ("60", "15000"), id="one said"),
        pytest.param("postgresql://h/d?tcp_user_timeout=1&connect_timeout=2", ("2", "1"), id="both said"),
        pytest.param("postgresql:///d?host=/tmp&keepalives=0", ("5", "15000"), id="a socket"),
    ],
)
def test_the_operator_s_word_comes_first(url: str, expected: tuple[str, str]) -> None:
    said = conninfo_to_dict(linked(url))
    assert (said["connect_timeout"], said["tcp_user_timeout"]) == expected
    assert conninfo_to_dict(url).items() <= said.items()


def test_it_may_be_said_twice() -> None:
    assert linked(linked("postgresql://u:p%40@h:1/d")) == linked("postgresql://u:p%40@h:1/d")


async def test_connections_of_the_pool_are_not_silent_for_hours(database: Database) -> None:
    async with database.connection() as connection:
        parameters = connection.info.get_parameters()
    assert (parameters["keepalives_idle"], parameters["tcp_user_timeout"]) == ("10", "15000")
