"""Where the clients of a round run: in this process, on Ray, or on Flower's own runtime."""
