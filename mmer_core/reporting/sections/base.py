"""What a section of the report is: for which datasets it is there, its figures, and its HTML."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from mmer_core.errors import MmerError
from mmer_core.named import Named
from mmer_core.reporting.table import Table
from mmer_core.reporting.view import DatasetView


class Section(Named, ABC):
    """A part of what the report says about each dataset; a concrete one declares itself as `Named` says.

    Attributes:
        summary: Its heading, unless `fields` returns another ``heading``.
        order: Sections stand by this number; those of mmer are 10, 20, ... 80.
        tasks: The kinds of task that it is for; all, if empty.
        results: Kinds of artifacts that it shows besides those of every report. ``dataset.found(kind)`` are the
            newest that were made from the dataset (a stage's argument ``prepared``) and from each of its models
            (``model``), as they are in the store when the report is written.
        template: Jinja template of what stands below the heading, with the names that `fields` returns. The macros
            ``table(data, wide=false)`` and ``figure(chart, caption, kind="")`` are there; text is escaped.
    """

    refusal = MmerError
    order: ClassVar[int]
    tasks: ClassVar[tuple[str, ...]] = ()
    results: ClassVar[tuple[str, ...]] = ()
    template: ClassVar[str] = "{% for one in tables %}{{ table(one) }}{% endfor %}"

    @abstractmethod
    def fields(self, dataset: DatasetView, id_: str) -> Mapping[str, Any] | None:
        """What the template shows; nothing where there is nothing to show.

        Args:
            id_: Prefix of ids on the page, unique for the dataset.
        """


def filled(*candidates: Table) -> tuple[Table, ...]:
    """The tables that have rows."""
    return tuple(table for table in candidates if table.rows)
