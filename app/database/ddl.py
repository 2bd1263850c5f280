"""DDL that SQLAlchemy has no construct for; what is filled in is ours alone, never text of a user."""

from typing import Any

import sqlalchemy as sa


def ddl(template: str, **values: Any) -> sa.DDL:
    """`%(name)s` stands for a value, `%(fullname)s` for the table it is said `.against`."""
    return sa.DDL(template, context=values)  # type: ignore[no-untyped-call]
