"""Sections of the report: one a file, found by `Registry`; a new one is a new module here with a `Section`."""

from mmer_core.named import Registry
from mmer_core.reporting.sections.base import Section

SECTIONS: Registry[Section] = Registry("report section", Section, __name__)

__all__ = ["SECTIONS", "Section"]
