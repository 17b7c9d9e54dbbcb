"""Outside files are read in child processes that have limits and can be killed.

Decoders of pictures, MATLAB files and Parquet are native code: a hostile or damaged file can make them crash, take all
memory or never end. What they run in is not the process that holds the user's work. Nothing in here may import a heavy
library: a child has to start in a fraction of a second.
"""
