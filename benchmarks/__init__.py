"""Our speed and quality against named peers, as ratios in one run: ``python -m benchmarks.<name> --help``."""
