"""How long a silent PostgreSQL is believed to be there, in one place for all our connections."""

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# A server that vanishes without a word is noticed within 25 seconds, whether we send or wait; libpq would take hours.
_LINK = {
    "connect_timeout": "5",
    "tcp_user_timeout": "15000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


def linked(url: str) -> str:
    """As libpq takes it; what the operator's URL says of these comes first."""
    said = conninfo_to_dict(url)
    return make_conninfo(url, **{name: value for name, value in _LINK.items() if name not in said})
