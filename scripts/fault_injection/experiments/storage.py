"""A disk is full: that of the data, then that of the write-ahead log."""

from contextlib import suppress

import psycopg

from scripts.fault_injection.cluster import Storage
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.load import Load
from scripts.fault_injection.trial import Trial
from scripts.fault_injection.volume import mounted
from scripts.testbed.processes import Process

DATA_MEGABYTES, WAL_MEGABYTES = 256, 256
DATABASE_SECONDS = 30
FULL_SECONDS = 60
READS = 20
SEGMENTS = 40
UNAVAILABLE = "ServiceUnavailableException"


def data_disk_full(trial: Trial) -> None:
    """The disk of the data is full: writes are refused, reads go on, and so does everything when there is room."""
    with (
        mounted(trial.folder, DATA_MEGABYTES) as volume,
        trial.deployed(storage=Storage(data=volume.mount)) as deployment,
    ):
        with trial.load(deployment.api) as load:
            for _ in trial.times(2, 1):
                load.wait_for(20)
                before = serving(deployment)
                volume.fill()
                _judge_reads(trial, load)
                trial.judge("server and PostgreSQL stay up", serving(deployment) == before)
                volume.make_room()
                trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def _judge_reads(trial: Trial, load: Load) -> None:
    record, reads = load.record, ("GetVectors", "QueryVectors")
    refused = record.refused("PutVectors")
    load.wait_until(lambda: record.refused("PutVectors") >= refused + 5, FULL_SECONDS, "PutVectors is refused")
    served, failed = record.count("200", *reads), record.refused(*reads)
    load.wait_until(lambda: record.count("200", *reads) >= served + READS, FULL_SECONDS, f"{READS} reads are served")
    failed = record.refused(*reads) - failed
    trial.judge("reads go on", failed == 0, f"{READS} served, {failed} refused")


def wal_disk_full(trial: Trial) -> None:
    """The disk of the write-ahead log is full: PostgreSQL panics; it is started again when there is room."""
    with (
        mounted(trial.folder, WAL_MEGABYTES) as volume,
        trial.deployed(storage=Storage(wal=volume.mount)) as deployment,
    ):
        with trial.load(deployment.api) as load:
            for _ in trial.times(2, 1):
                load.wait_for(20)
                volume.fill()
                _use_up_segments(deployment)
                _wait_for_refusals(load)
                panicked = "PANIC" in deployment.cluster.log.read_text()
                trial.judge("PostgreSQL panics, or this would prove nothing", panicked)
                volume.make_room()
                if not until(deployment.cluster.answers, DATABASE_SECONDS):
                    deployment.cluster.stop()
                    deployment.cluster.start()
                trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def _wait_for_refusals(load: Load) -> None:
    refused = load.record.count(UNAVAILABLE)
    load.wait_until(lambda: load.record.count(UNAVAILABLE) >= refused + 5, FULL_SECONDS, "clients are told 503")


def _use_up_segments(deployment: Deployment) -> None:
    """Until PostgreSQL cannot make another."""
    with suppress(psycopg.OperationalError):
        for _ in range(SEGMENTS):
            with deployment.cluster.connect() as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS written (); DROP TABLE written; SELECT pg_switch_wal()")


def serving(deployment: Deployment) -> list[Process]:
    return [deployment.server.process, *deployment.server.workers, *deployment.cluster.processes[:1]]
