"""A function that makes the schemas of views, so that the role that serves need not be able to create anything else."""

from collections.abc import Sequence

from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Whoever may CREATE in the database may also install trusted extensions and take any name for a schema.

    The function runs as the owner of the catalog for whoever may EXECUTE it, and makes schemas named like buckets.
    False where the name is taken, or is that of a role: such a schema would come first in that role's search_path.
    """
    op.execute(
        """
        CREATE FUNCTION s3_vectors.create_view_schema(name text) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF name !~ '^[a-z0-9][a-z0-9-]{1,61}[a-z0-9](_[0-9]{0,12})?$' OR length(name) > 63 THEN
                RAISE 'not the name of a bucket: %', name USING ERRCODE = 'invalid_schema_name';
            END IF;
            -- Two accounts may create the same name at once: the second waits and then sees the first's schema.
            PERFORM pg_advisory_xact_lock(hashtextextended(name, 0));
            IF name = 'public' OR to_regnamespace(quote_ident(name)) IS NOT NULL
                OR to_regrole(quote_ident(name)) IS NOT NULL
            THEN
                RETURN false;
            END IF;
            EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', name,
                CASE WHEN pg_has_role(session_user, 'MEMBER') THEN session_user ELSE current_user END);
            RETURN true;
        END
        $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION s3_vectors.create_view_schema FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION s3_vectors.create_view_schema")
