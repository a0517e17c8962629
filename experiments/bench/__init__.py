"""Many runs in one command: a grid of cells, each an ordinary run in a folder of its own."""
