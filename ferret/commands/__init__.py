"""Sub-commands that the engine itself brings. Those of the other packages come in through entry points."""
