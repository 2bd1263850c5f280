"""A server of a new version migrates the catalog of an old one, and is killed while it does."""

import psycopg
import sqlalchemy as sa
from alembic import command

from app.database.migrations import configuration
from scripts.fault_injection.cluster import Cluster
from scripts.fault_injection.deployment import until
from scripts.fault_injection.trial import Trial

OLD = "0002"
WAITING_SECONDS = 30
SERVING_SECONDS = 30


def migration_interrupted(trial: Trial) -> None:
    """Kill -9 of a server that migrates, under the load of clients who wait; then two servers start at once."""
    with trial.deployed() as deployment, trial.load(deployment.api) as load:
        load.wait_for(50)
        deployment.server.end()
        downgrade(deployment.cluster)
        old = shape(deployment.cluster)
        for _ in trial.times(5, 1):
            with psycopg.connect(deployment.cluster.url()) as connection:
                connection.execute("LOCK TABLE s3_vectors.vector_indexes IN ACCESS SHARE MODE")
                deployment.server.spawn()
                migrates = until(lambda: deployment.waiting() > 0, WAITING_SECONDS)
                trial.judge("a migration is interrupted, or this would prove nothing", migrates)
                deployment.server.kill()
            until(lambda: deployment.others() == 0, WAITING_SECONDS)
            trial.judge("of the migration nothing is left", shape(deployment.cluster) == old)
        other = deployment.another_server()
        other.spawn()
        try:
            deployment.server.start()
            other.wait_until_it_answers()
            trial.judge("two servers that start at once both serve", passed=True)
            trial.recovers(load, SERVING_SECONDS)
        finally:
            other.end()
        trial.judge("the catalog is of the new version", shape(deployment.cluster) != old)


def downgrade(cluster: Cluster) -> None:
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(cluster.url()), poolclass=sa.NullPool
    )
    with engine.begin() as connection:
        command.downgrade(configuration(connection=connection), OLD)


def shape(cluster: Cluster) -> list[tuple[object, ...]]:
    """Version, columns and indexes of catalog and vectors."""
    with cluster.connect() as connection:
        return connection.execute(SHAPE).fetchall()


SHAPE = """
SELECT 'version', version_num, '' FROM s3_vectors.alembic_version
UNION ALL SELECT table_schema || '.' || table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema IN ('s3_vectors', 'vectors')
UNION ALL SELECT schemaname || '.' || tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname IN ('s3_vectors', 'vectors')
ORDER BY 1, 2
"""
