"""A longer look, for when the scripts change: `./dev test tests/model --hypothesis-profile=long`."""

from hypothesis import settings

settings.register_profile("long", max_examples=2000, stateful_step_count=60)
