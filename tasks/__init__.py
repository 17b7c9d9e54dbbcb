"""Prefect tasks: retries, tags, progress and artifacts around one call of `mmer_core.stages` each."""
