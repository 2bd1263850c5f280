"""What every operation works with, made once per worker."""

from msgspec import Struct

from app.database.deletion import Deletion
from app.database.engine import Database
from app.page_tokens import PageTokens


class Server(Struct, frozen=True):
    database: Database
    deletion: Deletion
    page_tokens: PageTokens
    views: bool
    """Whether buckets get schemas, and indexes views, for people."""
