"""Raw dataset trees to `Sample` records to prepared arrays."""
