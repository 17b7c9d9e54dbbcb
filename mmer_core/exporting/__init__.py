"""Trained models as ONNX files that run without mmer, verified against the original model."""

from mmer_core.exporting.export import export_model

__all__ = ["export_model"]
