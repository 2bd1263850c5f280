"""The dashboard and the alerts ask for what a real server tells."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from botocore.exceptions import ClientError
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from app.database.engine import Database
from app.monitoring.database_metrics import STATES
from tests.database.conftest import BUCKET, Library
from tests.database.test_nearest import clustered, store
from tests.identities import client
from tests.monitoring.operated_server import operated

MONITORING = Path(__file__).parents[2] / "docs/monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
OPERATIONS = (MONITORING.parent / "operations.md").read_text()

# What Prometheus itself adds to whatever it scrapes.
OF_PROMETHEUS = {"instance", "job"}

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\{([^}]*)\}")
NAME = re.compile(r"(?<![\w$])([a-zA-Z_]\w*)(?!\w|\s*\()")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
KEYWORDS = {"and", "or", "unless", "bool", "offset"}


class Asked(Struct, frozen=True):
    metrics: frozenset[str]
    labels: frozenset[str]
    """Of all of these metrics together, since one expression may have several."""


def asked(expression: str) -> Asked:
    """Every name in it that is no function, keyword, text or duration."""
    text = STRING.sub('""', expression)
    labels = {label.strip() for group in GROUPING.findall(text) for label in group.split(",")}
    text = GROUPING.sub(" ", text)
    for _, matchers in SELECTOR.findall(text):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    return Asked(frozenset(set(NAME.findall(text)) - KEYWORDS), frozenset(labels))


def expressions() -> Iterator[tuple[str, str, str]]:
    """With the labels that their legend or summary shows."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]
    for rule in RULES:
        yield rule["alert"], rule["expr"], rule["annotations"]["summary"]


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ("up", {"up"}, set()),
        ('sum by (a, b) (rate(x_total{c=~"y|z", d!="{e}"}[5m])) / 2', {"x_total"}, {"a", "b", "c", "d"}),
        ("max(x) by (a) > 1e5 and on(b) y", {"x", "y"}, {"a", "b"}),
        ("histogram_quantile(0.9, x_bucket) or vector(0)", {"x_bucket"}, set()),
    ],
)
def test_names_are_told_from_functions_and_texts(expression: str, metrics: set[str], labels: set[str]) -> None:
    assert asked(expression) == Asked(frozenset(metrics), frozenset(labels))


async def exported(own_database_url: str, data_dir: Path) -> dict[str, set[str]]:
    """Names of metrics, and of their labels, of a server that has been asked for all kinds of things."""
    database = Database(own_database_url, pool_size=1, statement_timeout_seconds=30)
    await database.open()
    library = Library(database)
    await library.create_bucket()
    index = await library.create_index(8)
    vectors = clustered(200, 8)
    await store(database, index, vectors)
    await library.build_graph(index)
    await database.close()
    key = b64encode(np.random.default_rng().bytes(32)).decode()
    settings = {"KEY_ENCRYPTION_KEY": key, "RECALL_SAMPLING_SECONDS": "1", "LOG_LEVEL": "error"}
    with operated(data_dir, own_database_url, **settings) as server:
        named = {"vectorBucketName": BUCKET.vector_bucket_name, "indexName": "movies"}
        server.client.query_vectors(**named, topK=3, queryVector={"float32": vectors[0].tolist()})
        deny_all = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3vectors:*", "Resource": "*"},
        }
        server.client.put_vector_bucket_policy(vectorBucketName="media", policy=json.dumps(deny_all))
        with pytest.raises(ClientError, match="AccessDenied"):
            server.client.get_index(**named)
        with pytest.raises(ClientError):
            client(
                server.process.endpoint, aws_access_key_id="AKIAUNHEARDOF", aws_secret_access_key="x"
            ).list_vector_buckets()
        server.wait_for("recall")
        server.wait_for("pool_connections")
        names: dict[str, set[str]] = {"up": set()}
        end = time.monotonic() + 30
        while "pgs3vectors_authorization_denials_total" not in names and time.monotonic() < end:
            for family in text_string_to_metric_families(server.figures.text):
                for sample in family.samples:
                    names.setdefault(sample.name, set()).update(sample.labels)
        return names


async def test_every_metric_and_label_that_is_asked_for_is_told(own_database_url: str, data_dir: Path) -> None:
    told = await exported(own_database_url, data_dir)
    checked = 0
    for title, expression, shown in expressions():
        found = asked(expression)
        assert found.metrics, title
        assert found.metrics <= told.keys(), title
        labels = set().union(*(told[name] for name in found.metrics)) | OF_PROMETHEUS
        legend = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", shown)) - {"value"}
        assert found.labels | legend <= labels, title
        checked += 1
    assert checked > 60
    assert {name for name in told if name.startswith("pgs3vectors_one_index")} == set()


def test_what_a_legend_shows_is_grouped_by() -> None:
    """Otherwise it would be empty."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), panel["title"]


def test_the_dashboard_can_be_provisioned() -> None:
    """Which knows no `__inputs`: the data source is a variable."""
    assert "__inputs" not in DASHBOARD
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    sources = {json.dumps(panel.get("datasource")) for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    used = set(re.findall(r"\$\{?(\w+)", " ".join(expression for _, expression, _ in expressions())))
    assert used - {"__rate_interval"} <= variables.keys()


def builds_of(alert: str) -> set[tuple[str, str]]:
    """The kinds and states of pgs3vectors_builds that it looks at."""
    [expression] = [rule["expr"] for rule in RULES if rule["alert"] == alert]
    [matchers] = [found for name, found in SELECTOR.findall(expression) if name == "pgs3vectors_builds"]
    series = [{"kind": kind, "state": state} for kind, states in STATES.items() for state in states]
    return {(labels["kind"], labels["state"]) for labels in series if are_matched(labels, matchers)}


def are_matched(labels: dict[str, str], matchers: str) -> bool:
    found = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)
    assert found
    return all(
        (re.fullmatch(value if "~" in operator else re.escape(value), labels[name]) is not None)
        == operator.startswith("=")
        for name, operator, value in found
    )


@pytest.mark.parametrize(
    ("alert", "kinds", "state"),
    [
        pytest.param("Pgs3vectorsBuildFailed", {"graph", "range_index", "text_search"}, "failed", id="whatever fails"),
        pytest.param("Pgs3vectorsInvalidIndexes", {"graph", "range_index"}, "building", id="a backfill makes no index"),
    ],
)
def test_an_alert_looks_at_the_builds_that_concern_it(alert: str, kinds: set[str], state: str) -> None:
    assert builds_of(alert) == {(kind, state) for kind in kinds}


def test_operators_are_told_what_to_do_about_each_alert() -> None:
    assert {rule["alert"] for rule in RULES} == set(re.findall(r"^\| `(Pgs3vectors\w+)` \|", OPERATIONS, re.MULTILINE))
    assert {rule["labels"]["severity"] for rule in RULES} == {"critical", "warning"}
