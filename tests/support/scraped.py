"""What Prometheus would get of a page of metrics."""

from prometheus_client.parser import text_string_to_metric_families

from flows.monitoring import Queue
from mmer_core.signals import COUNTED

LABELS = {
    **{one.in_prometheus: one.attributes for one in COUNTED},
    **{name: labels for name, _, labels in Queue.FAMILIES},
}
"""Of every series of `mmer monitor`, in the order in which they are declared."""

Figures = dict[tuple[str, ...], float]


def figures(text: str) -> Figures:
    """Every figure of `mmer monitor` by the name of its series and the values of its labels."""
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {
        (one.name, *(one.labels[label] for label in LABELS[one.name])): one.value
        for one in samples
        if one.name in LABELS
    }
