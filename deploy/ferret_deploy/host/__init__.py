"""FERRET on one host: what agents see, what the controller decides, and who carries it out."""
