"""The aggregators as a strategy of any Flower app."""

from hauberk.strategies.flower.strategy import RobustStrategy

__all__ = ["RobustStrategy"]
