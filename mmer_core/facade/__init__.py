"""What is behind the names of ``import mmer_core``: models, runs and comparisons, each in one call."""
