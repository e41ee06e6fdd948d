"""A longer look, for when the scripts change: `./dev test tests/model --hypothesis-profile=long`."""

from hypothesis import settings

settings.register_profile("long")
