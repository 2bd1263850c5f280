import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.database import catalog
from app.database.migrations import migrate


def test_migrating_twice_changes_nothing(own_database_url: str) -> None:
    migrate(own_database_url)
    migrate(own_database_url)


def test_the_catalog_in_code_is_the_catalog_in_the_database(own_database_url: str) -> None:
    """Columns only: what a migration adds in indexes, defaults and comments, the code need not repeat."""
    engine = sa.create_engine(own_database_url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "s3_vectors",
            },
        )
        drift = [
            change
            for change in compare_metadata(context, catalog.metadata)
            if change[0] in ("add_table", "add_column", "remove_column")
        ]
    assert drift == []
