"""Trained models as ONNX files that run without mmer, checked against the model they come from."""

from mmer_core.exporting.export import export_model

__all__ = ["export_model"]
