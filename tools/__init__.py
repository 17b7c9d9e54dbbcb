"""Programs for those who work on mmer: damage, malformed inputs, a server that is watched."""
