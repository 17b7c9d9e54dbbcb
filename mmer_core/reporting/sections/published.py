"""Published figures on the real dataset."""

from collections.abc import Mapping
from typing import Any

from mmer_core.reporting.sections.base import Section
from mmer_core.reporting.tables import published_table
from mmer_core.reporting.view import DatasetView


class Published(Section):
    """Folded, and marked where they cannot be compared."""

    name = "published"
    summary = ""
    order = 80
    template = """\
<details><summary>Published figures on the real {{ dataset.text.published_on }}</summary>
<p>Measured on the real test split{% if dataset.synthetic %}. <strong>The figures of this report are on synthetic data and cannot be compared with them.</strong>{% else %}; they can be compared with this report only where it evaluates the same split of the same dataset by the same protocol.{% endif %}</p>
{{ table(published) }}</details>
"""

    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        published = published_table(dataset)
        return {"dataset": dataset, "published": published} if published else None
