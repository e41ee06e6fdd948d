"""Where the app's own services are. Redis is jobkit's business: `JOBKIT_REDIS_URL`."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class TrackerSettings(BaseSettings):
    """Read from the environment: `TIME_TRACKER_DATABASE_URL` and so on. Only workers need them."""

    model_config = SettingsConfigDict(env_prefix="TIME_TRACKER_")

    database_url: str
    files_url: str
    files_secret: SecretStr
    extractor_url: str
