"""The wires of an NF: each link puts one protocol engine on its sockets (the rim)."""
