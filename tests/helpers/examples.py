"""How many examples hypothesis tries where the profile's own number is too many for a slow test."""

from hypothesis import settings


def examples(n):
    """Decorates a test: ``n`` examples in the default profile, and as many times more as another profile has."""
    return settings(
        max_examples=n * settings.default.max_examples // settings.get_profile("default").max_examples
    )
