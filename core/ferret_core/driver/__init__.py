"""The rim of the core's NFs: what puts their logic on real sockets, for the lab's core and for the edge."""
