"""Replay at NFs that others wrote: who is the target, who stands around it, and what the two say to each other.

Sans-IO: the sockets are in `ferret_deploy.foreign`.
"""
