"""FERRET: record live LTE/IMS signalling and replay it, statefully, at network functions at the edge."""

__version__ = "0.1.0"
