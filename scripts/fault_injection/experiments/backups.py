"""Backups are taken under load, and what is restored from them is served and judged by the ledger."""

from scripts.fault_injection.callers import NAMES
from scripts.fault_injection.cluster import Cluster, created
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.ledger import BATCH, Batch, Window
from scripts.fault_injection.load import Load, list_vectors
from scripts.fault_injection.trial import MOST_SHOWN, Trial

ARCHIVE_SECONDS = 60
BEFORE, AFTER = 100, 50


def dumped_and_restored(trial: Trial) -> None:
    """pg_dump under load, and pg_restore into another cluster."""
    with trial.deployed() as deployment, created(trial.folder / "restored") as restored:
        with trial.load(deployment.api) as load:
            load.wait_for(BEFORE)
            least = load.ledger.bounds()
            dump = restored.folder / "dump"
            restored.dump(deployment.cluster, dump)
            window = Window(least, load.ledger.bounds())
            load.wait_for(AFTER)
        restored.restore(dump)
        _judge_copy(trial, deployment, restored, window, load)


def base_backup_restored(trial: Trial) -> None:
    """pg_basebackup under load, and another PostgreSQL started on it."""
    with trial.deployed() as deployment, Cluster(trial.folder / "restored") as restored:
        with trial.load(deployment.api) as load:
            load.wait_for(BEFORE)
            least = load.ledger.bounds()
            restored.copy(deployment.cluster, "--wal-method=stream")
            window = Window(least, load.ledger.bounds())
            load.wait_for(AFTER)
        restored.start()
        _judge_copy(trial, deployment, restored, window, load)


def restored_to_a_point_in_time(trial: Trial) -> None:
    """A base backup and archived WAL, restored to a point between writes under load."""
    archive = trial.folder / "archive"
    archive.mkdir()
    archiving = {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}
    recovery = {
        "restore_command": f"cp {archive}/%f %p",
        "recovery_target_name": "between",
        "recovery_target_action": "promote",
    }
    with trial.deployed(postgres=archiving) as deployment, Cluster(trial.folder / "restored", recovery) as restored:
        deployment.cluster.own(archive)
        with trial.load(deployment.api) as load:
            restored.copy(deployment.cluster, "--wal-method=none")
            load.wait_for(BEFORE)
            least = load.ledger.bounds()
            with deployment.cluster.connect() as connection:
                connection.execute("SELECT pg_create_restore_point('between')")
            window = Window(least, load.ledger.bounds())
            load.wait_for(AFTER)
            _archive_all(deployment.cluster)
        (restored.data / "recovery.signal").touch()
        restored.start()
        promoted = until(lambda: not _recovers(restored), ARCHIVE_SECONDS)
        trial.judge("it is promoted at that point", promoted)
        _judge_copy(trial, deployment, restored, window, load)


def _archive_all(cluster: Cluster) -> None:
    with cluster.connect() as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        wanted = row[0] if row else ""

        def archived() -> bool:
            last = connection.execute("SELECT last_archived_wal FROM pg_stat_archiver").fetchone()
            return bool(last and last[0] and last[0] >= wanted)

        until(archived, ARCHIVE_SECONDS)


def _recovers(cluster: Cluster) -> bool:
    with cluster.connect() as connection:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        return row is None or row[0]


def _judge_copy(
    trial: Trial,
    deployment: Deployment,
    restored: Cluster,
    window: Window,
    load: Load,
) -> None:
    """A server with the same keys serves it; what was acknowledged before is there, and nothing of later."""
    with deployment.another_server(restored) as server:
        vectors = list_vectors(server.api)
        findings = [finding.what for finding in load.ledger.judge_all(vectors, window)]
        shown = "; ".join(findings[:MOST_SHOWN]) or f"{len(vectors)} vectors"
        trial.judge("the copy holds what was acknowledged then, whole and true", not findings, shown)
        again = Batch(writer=99, number=0, present=[False, True])
        server.api.call("PutVectors", **NAMES, vectors=again.written(1))
        found = server.api.call("QueryVectors", **NAMES, topK=BATCH, queryVector={"float32": again.vector(1, 0)})
        keys = [vector["key"] for vector in found["vectors"]]
        trial.judge("the copy takes writes and finds them", keys == again.keys, keys)
    trial.judge_leaks(restored)
