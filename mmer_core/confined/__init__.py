"""External files are read in child processes that have resource limits and can be killed.

Decoders of pictures, MATLAB files and Parquet are native code: a hostile or damaged file can make them crash, exhaust
memory or run forever. They therefore run apart from the process that holds the user's work. Nothing in this package may
import a heavy library, because a child must start in a fraction of a second.
"""
