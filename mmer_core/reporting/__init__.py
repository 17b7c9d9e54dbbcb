"""The report: typed view data in, one self-contained HTML file out."""
