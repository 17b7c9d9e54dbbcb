"""A release: version, changelog, sdist and wheel that were tried, and what is to be known about them. `make release`."""
