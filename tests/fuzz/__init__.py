"""Damaged, hostile and random inputs for every reader of outside files: ``PYTHONPATH=tests python -m fuzz``."""
