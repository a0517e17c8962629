"""Deployments: server and clients on machines of their own, on Flower's SuperLink and SuperNodes."""

import os

# Flower reads the first when it is imported. Nothing here tells anybody anything, or installs anything.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
