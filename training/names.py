"""The names of a model's inputs, their order, and the version of what they mean."""

from __future__ import annotations

from core.schemas.predictions import KNOWN_AGES_H

#: Version of what training.features computes under these names; a model is served only with the one it was trained on.
SCHEMA = "1"

TIME = ("hour_sin", "hour_cos", "hour_sin2", "hour_cos2", "weekday_sin", "weekday_cos", "weekend")
AGE = tuple(f"age_{age}" for age in KNOWN_AGES_H)
COUNTS = ("text_len", "n_words", "n_links", "n_hashtags", "n_mentions", "n_emoji", "n_lines")
FLAGS = ("has_question", "is_ad", "is_forward")
MEDIA = ("none", "photo", "video")
CONTENT = (*(f"log_{name}" for name in COUNTS), *FLAGS, *(f"media_{kind}" for kind in MEDIA), "length_deviation")
CADENCE = ("log_hours_since_post", "log_posts_24h", "log_posts_7d", "log_posts_after")
AUDIENCE = ("log_subscribers", "view_rate", "growth_7d", "growth_30d")
RESULTS = ("level", "log_history", "spread", "last", "recent_3", "recent_10", "trend", "early_momentum")
EFFECTS = ("hour_effect", "weekday_effect", "media_effect", "ad_effect", "length_effect")
EARLY = ("early_deviation", "early_before", "early_velocity", "early_spread")

FEATURES: tuple[str, ...] = (*TIME, *AGE, *CONTENT, *CADENCE, *AUDIENCE, *RESULTS, *EFFECTS, *EARLY)
PLACE = {name: i for i, name in enumerate(FEATURES)}

#: Families of features, for telling what moved a prediction.
GROUPS: dict[str, tuple[str, ...]] = {
    "time": TIME,
    "age": AGE,
    "content": CONTENT,
    "cadence": CADENCE,
    "audience": AUDIENCE,
    "results": RESULTS,
    "effects": EFFECTS,
    "early": EARLY,
}
#: Features that tell channels apart rather than posts. They stay in the vector (drift watches them), but a network that
#: reads them learns the few channels by heart: on real channels they cost it more than they give.
CHANNEL_MARKS = ("level", "log_subscribers", "view_rate", "spread", "log_posts_7d", "growth_30d", "log_history")
