"""Prefect flows, one a job, and the `mmer` command line that runs them."""
