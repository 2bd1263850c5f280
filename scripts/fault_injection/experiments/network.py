"""What lies between server and PostgreSQL fails under load: a proxy that is slow, cut, silent, or breaks answers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from scripts.fault_injection.cluster import Cluster
from scripts.fault_injection.deployment import Deployment
from scripts.fault_injection.proxy import Proxy, proxied
from scripts.fault_injection.trial import Trial

DELAY_SECONDS = 0.5
# What the server is given for a statement, and for a whole request.
SETTINGS = {"STATEMENT_TIMEOUT_SECONDS": "5", "REQUEST_TIMEOUT_SECONDS": "10"}
ANSWER_SECONDS = 30
DATABASE_SECONDS = 30
# In the parameters of PutVectors, and of nothing else.
A_WRITE = rb'"version":'
BROKEN_ANSWERS = 10


@contextmanager
def _linked(trial: Trial) -> Iterator[tuple[Deployment, Proxy]]:
    """The server reaches PostgreSQL through the proxy, the judges beside it."""
    with ExitStack() as stack:
        proxies: list[Proxy] = []

        def through(cluster: Cluster) -> str:
            proxies.append(stack.enter_context(proxied(cluster.port)))
            return cluster.url(proxies[0].port)

        deployment = stack.enter_context(trial.deployed(SETTINGS, database_url=through))
        yield deployment, proxies[0]


def link_delayed(trial: Trial) -> None:
    """The link to the database takes half a second each way: everything is served, only later."""
    with _linked(trial) as (deployment, proxy):
        with trial.load(deployment.api) as load:
            proxy.delay = DELAY_SECONDS
            load.wait_for(20 if trial.short else 60)
            refused = load.record.not_served()
            trial.judge("nothing is refused", refused == 0, dict(load.record.answers))
            proxy.heal()
            trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def link_cut(trial: Trial) -> None:
    """Every connection to the database is reset, and none can be made until clients were told."""
    with _linked(trial) as (deployment, proxy):
        with trial.load(deployment.api) as load:
            for _ in trial.times(5, 1):
                load.wait_for(20)
                proxy.cut()
                load.is_answered(ANSWER_SECONDS)
                proxy.heal()
                trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def link_half_open(trial: Trial) -> None:
    """Of the connections to the database nothing arrives any more, and nobody is told; new ones are good."""
    with _linked(trial) as (deployment, proxy):
        with trial.load(deployment.api) as load:
            for _ in trial.times(2, 1):
                load.wait_for(20)
                proxy.silence()
                trial.recovers(load, DATABASE_SECONDS)
            proxy.cut()  # what nobody could have ended, PostgreSQL keeps for hours
            proxy.heal()
            trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def database_frozen(trial: Trial) -> None:
    """PostgreSQL stands still, connected as it is (SIGSTOP): clients are told in time, and served when it goes on."""
    with trial.deployed(SETTINGS) as deployment:
        with trial.load(deployment.api) as load:
            for _ in trial.times(2, 1):
                load.wait_for(20)
                deployment.cluster.freeze()
                try:
                    load.is_answered(ANSWER_SECONDS)
                finally:
                    deployment.cluster.thaw()
                trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def commit_unanswered(trial: Trial) -> None:
    """The link is reset when the answer to a committed write comes: the outcome is unknown, and told as 5xx."""
    with _linked(trial) as (deployment, proxy):
        with trial.load(deployment.api) as load:
            proxy.break_answers(A_WRITE)
            load.wait_until(lambda: proxy.broken >= BROKEN_ANSWERS, DATABASE_SECONDS, "answers are broken")
            proxy.break_answers(None)
            trial.recovers(load, DATABASE_SECONDS)
            trial.judge("writes of unknown outcome are refused", load.record.refused("PutVectors") > 0)
        trial.judge_leaks(deployment.cluster)
