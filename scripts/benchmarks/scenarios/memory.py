"""Memory: of one worker that idles, of the same with eight requests of 20 MiB in flight, and of PostgreSQL.

The worker is the only one of a server of its own, since several would share the requests.
"""

from contextlib import closing
from threading import Event

from scripts.benchmarks.bodies import big_put, create_index_for_bodies
from scripts.benchmarks.run import Run
from scripts.benchmarks.targets import BUSY_WORKER_MIB, IDLE_WORKER_MIB
from scripts.testbed.processes import peak_resident_mib, proportional_mib, resident_mib
from scripts.testbed.side_by_side import Job, side_by_side

REQUESTS = 8
TIMES = 3


def memory(run: Run) -> None:
    create_index_for_bodies(run)
    used = max(map(resident_mib, run.deployment.server.workers))
    with run.deployment.another_server(WORKERS="1") as server:
        [worker] = server.workers
        run.figure("a worker, idle", resident_mib(worker), "MiB", IDLE_WORKER_MIB)
        with run.steps.step(f"making {REQUESTS} bodies of 20 MiB"):
            bodies = [big_put(server.api, sender, run.options.seed) for sender in range(REQUESTS)]

        def sending(body: bytes) -> Job[None]:
            def send(_: Event) -> None:
                with closing(server.api.connect()) as connection:
                    for _time in range(TIMES):
                        connection.exchange(body)

            return send

        with run.steps.step(f"{REQUESTS} requests of 20 MiB in flight"):
            side_by_side([sending(body) for body in bodies])
        peak = peak_resident_mib(worker)
        note = f"{resident_mib(worker):.0f} MiB afterwards"
        run.figure(f"a worker, peak with {REQUESTS} requests of 20 MiB", peak, "MiB", BUSY_WORKER_MIB, note=note)
    run.figure("a worker of this run, idle", used, "MiB")
    if postgres := run.deployment.postgres:
        run.figure("PostgreSQL, all processes", proportional_mib(postgres), "MiB", note="shared memory counted once")
    else:
        run.figure("PostgreSQL", None, note="its processes are not on this machine")
