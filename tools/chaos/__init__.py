"""Runs of a small pipeline that are harmed at random, and run again: what comes out must be what always comes out."""
