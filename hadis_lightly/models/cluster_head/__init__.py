"""Models with a cluster head: those of CC and PICI."""
