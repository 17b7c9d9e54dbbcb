"""The dashboard and the alerts: what they ask for is there, and Grafana and Prometheus can read them."""

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from support import scraped

from flows.monitoring import Queue, app
from mmer_core.serving.metrics import Metrics
from mmer_core.signals import COUNTED

FOLDER = resources.files("deployments") / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))
PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

LABELS = {**scraped.LABELS, "mmer_requests_total": ("route", "method", "status")}
"""The labels of every series that mmer exports."""


def expression(text: str) -> promql_parser.Expr:
    return promql_parser.parse(text.replace("$__rate_interval", "5m"))


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def look(one: Any) -> bool:
        if isinstance(one, promql_parser.VectorSelector):
            found.append(one)
        elif isinstance(one, promql_parser.MatrixSelector):
            found.append(one.vector_selector)
        return True

    promql_parser.walk(node, look)
    yield from found


@pytest.mark.parametrize("text", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_every_query_is_of_series_that_are_exported(text: str) -> None:
    asked = [*selectors(expression(text))]
    assert asked
    for one in asked:
        assert one.name in LABELS, one.name
        assert {matcher.name for matcher in one.matchers.matchers} <= {*LABELS[one.name]}
    grouped = {label for labels in re.findall(r"(?:by|on) \(([^)]*)\)", text) for label in labels.split(", ")}
    assert grouped <= {label for one in asked for label in LABELS[one.name]}


def test_everything_that_is_exported_is_shown() -> None:
    shown = {one.name for text in QUERIES for one in selectors(expression(text))}
    assert LABELS.keys() - shown == {"mmer_prefect_up"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_one_of_prometheus(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch("Mmer[A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert promql_parser.parse_duration(rule.get("for", "1m"))
    given = {label for one in selectors(expression(rule["expr"])) for label in LABELS[one.name]}
    assert {*re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])} <= given
    assert f"`{rule['alert']}`" in PAGE


def test_the_guide_lists_every_series() -> None:
    listed = [(one.in_prometheus, one.attributes, one.description) for one in COUNTED]
    listed += [(name, labels, about) for name, about, labels in Queue.FAMILIES]
    for name, labels, about in listed:
        assert f"| `{name}` | {', '.join(labels)} | {about} |" in PAGE


def test_the_dashboard_is_one_of_grafana() -> None:
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert lost(DASHBOARD, read) == []
    (source,) = DASHBOARD["templating"]["list"]
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{source['name']}}}"}
        assert 0 <= panel["gridPos"]["x"] <= 24 - panel["gridPos"]["w"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def lost(one: Any, other: Any, where: str = "") -> list[str]:
    """What of a document Grafana's own types do not have, or have otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        absent = [f"{where}/{name}" for name in one.keys() - other.keys()]
        return absent + [
            way
            for name in one.keys() & other.keys()
            for way in lost(one[name], other[name], f"{where}/{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            way
            for place, pair in enumerate(zip(one, other, strict=True))
            for way in lost(*pair, f"{where}/{place}")
        ]
    return [] if one == other else [where]


def test_the_service_exports_what_the_dashboard_asks_of_it() -> None:
    served = Metrics()
    served.answered("/search", "GET", 200, 0.1)
    assert 'mmer_requests_total{method="GET",route="/search",status="200"} 1.0' in served.text().decode()


def test_prometheus_asks_the_monitor_and_keeps_its_labels() -> None:
    settings = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    (asked,) = settings["scrape_configs"]
    assert asked["honor_labels"], "Prometheus would call our label job exported_job"
    assert settings["rule_files"] == ["alerts.yaml"]
    assert any(route.path == "/metrics" for route in app(prefect=False).routes)
