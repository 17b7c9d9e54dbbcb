"""From a folder of pictures, or any table, to a first manifest: ``mmer init``."""
