"""Speed and quality compared with named peers, as ratios within one run: ``python -m benchmarks.<name> --help``."""
