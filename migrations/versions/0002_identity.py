"""Accounts, users, access keys, identity policies, KMS keys, and the generation that tells of every change to them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"
NAME = sa.Text(collation="C")
NOW = sa.func.now()

# What servers keep of the catalog, and which changes of it count: all but those of `last_used_time` and `schema_name`.
WATCHED = {
    "accounts": "INSERT OR UPDATE OR DELETE",
    "users": "INSERT OR UPDATE OR DELETE",
    "access_keys": (
        "INSERT OR DELETE OR UPDATE OF"
        " access_key_id, account_id, user_id, status, sealed_secret, token_hash, expiration_time"
    ),
    "user_policies": "INSERT OR UPDATE OR DELETE",
    "kms_keys": "INSERT OR UPDATE OR DELETE",
    "vector_buckets": (
        "INSERT OR DELETE OR UPDATE OF"
        " account_id, vector_bucket_name, policy, policy_user_ids, tags, sse_type, kms_key_arn, deletion_time"
    ),
    "vector_indexes": "INSERT OR UPDATE OR DELETE",
}


def upgrade() -> None:
    create_identities()
    create_kms_keys()
    create_generation()


def create_identities() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", NAME, sa.CheckConstraint("account_id ~ '^[0-9]{12}$'"), primary_key=True),
        sa.Column("account_name", sa.Text, nullable=False),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.Column("kek_id", sa.Text, nullable=False, comment="the key-encryption key that wraps data_key"),
        sa.Column("data_key", sa.LargeBinary, nullable=False, comment="seals the secrets of the account"),
        schema=SCHEMA,
    )
    op.create_table(
        "users",
        sa.Column("user_id", NAME, primary_key=True, comment="given once, unlike the name"),
        sa.Column("account_id", NAME, sa.ForeignKey(f"{SCHEMA}.accounts.account_id"), nullable=False),
        sa.Column("user_name", NAME, nullable=False),
        sa.Column("tags", JSONB, nullable=False, server_default="{}"),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        schema=SCHEMA,
    )
    op.execute(f"CREATE UNIQUE INDEX users_by_name ON {SCHEMA}.users (account_id, lower(user_name))")
    op.create_table(
        "access_keys",
        sa.Column("access_key_id", NAME, primary_key=True),
        sa.Column("account_id", NAME, sa.ForeignKey(f"{SCHEMA}.accounts.account_id"), nullable=False),
        sa.Column("user_id", NAME, of_user(), comment="NULL: the root user of the account"),
        sa.Column("slot", sa.SmallInteger, sa.CheckConstraint("slot IN (1, 2)"), comment="NULL: temporary credentials"),
        sa.Column("status", sa.Text, sa.CheckConstraint("status IN ('Active', 'Inactive')"), nullable=False),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.Column("last_used_time", sa.DateTime(timezone=True)),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, comment="SHA-256 of the session token"),
        sa.Column("expiration_time", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "(slot IS NULL) = (token_hash IS NOT NULL) AND (slot IS NULL) = (expiration_time IS NOT NULL)"
        ),
        schema=SCHEMA,
    )
    # Two keys a user, and two for the root user, whatever runs at the same time.
    op.execute(
        f"CREATE UNIQUE INDEX access_keys_by_slot ON {SCHEMA}.access_keys (account_id, user_id, slot)"
        " NULLS NOT DISTINCT WHERE slot IS NOT NULL"
    )
    op.create_table(
        "user_policies",
        sa.Column("user_id", NAME, of_user(), primary_key=True),
        sa.Column("policy_name", NAME, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    policy_user_ids = sa.Column(
        "policy_user_ids", JSONB, comment="the users whom the policy names, by ARN, as of its put"
    )
    op.add_column("vector_buckets", policy_user_ids, schema=SCHEMA)


def of_user() -> sa.ForeignKey:
    return sa.ForeignKey(f"{SCHEMA}.users.user_id", ondelete="CASCADE")


def create_kms_keys() -> None:
    op.create_table(
        "kms_keys",
        sa.Column("key_arn", NAME, primary_key=True),
        sa.Column("account_id", NAME, sa.ForeignKey(f"{SCHEMA}.accounts.account_id"), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column(
            "key_state",
            sa.Text,
            sa.CheckConstraint("key_state IN ('Enabled', 'Disabled', 'PendingDeletion')"),
            nullable=False,
        ),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.Column("deletion_time", sa.DateTime(timezone=True), comment="when a pending deletion is carried out"),
        sa.Column("kek_id", sa.Text, nullable=False, comment="the key-encryption key that wraps key_material"),
        sa.Column("key_material", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
    )
    data_key = sa.Column("data_key", sa.LargeBinary, comment="under aws:kms: wrapped by the KMS key")
    op.add_column("vector_indexes", data_key, schema=SCHEMA)


def create_generation() -> None:
    """Two numbers, of which every change of what servers keep of the catalog raises one, in its own transaction.

    Indexes have one of their own: where they come and go all the time, policies are not read again for it.

    Triggers, so that nobody forgets to: what an operator changes in psql is in force for the next request as well.
    Deferred, so that the row is locked no longer than the commit takes.
    """
    numbers = [sa.Column(name, sa.BigInteger, nullable=False) for name in ("access", "indexes")]
    op.bulk_insert(op.create_table("catalog_generation", *numbers, schema=SCHEMA), [{"access": 1, "indexes": 1}])
    op.execute(
        """
        CREATE FUNCTION s3_vectors.raise_catalog_generation() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE s3_vectors.catalog_generation SET
                access = access + (TG_TABLE_NAME <> 'vector_indexes')::int,
                indexes = indexes + (TG_TABLE_NAME = 'vector_indexes')::int;
            RETURN NULL;
        END
        $$
        """
    )
    for table, events in WATCHED.items():
        op.execute(
            f"CREATE CONSTRAINT TRIGGER raise_catalog_generation AFTER {events} ON {SCHEMA}.{table}"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
        )
        op.execute(
            f"CREATE TRIGGER truncated_raise_catalog_generation AFTER TRUNCATE ON {SCHEMA}.{table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
        )


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {SCHEMA}.raise_catalog_generation() CASCADE")  # with the triggers
    op.drop_column("vector_indexes", "data_key", schema=SCHEMA)
    op.drop_column("vector_buckets", "policy_user_ids", schema=SCHEMA)
    for table in ("catalog_generation", "kms_keys", "user_policies", "access_keys", "users", "accounts"):
        op.drop_table(table, schema=SCHEMA)
