"""The wires of an edge NF: each link puts one protocol engine on its sockets (the rim)."""
