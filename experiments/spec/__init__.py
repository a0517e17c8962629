"""The experiment file: its sections, how it is read, and whether its parts fit each other."""
