"""Where this installation keeps things and what it talks to, read once from `CONTENDER_…` variables.

Each environment keeps its state apart: below a folder of its own in the home, and, where a lake, a ledger or an MLflow
server is shared, under names of its own. A variable such as `CONTENDER_PROD_LEDGER_URL` counts in `prod` only, before
`CONTENDER_LEDGER_URL`.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

Environment = Literal["dev", "staging", "prod"]
Absolute = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _fit_for_tables(home: Path) -> Path:
    """The home, if Delta's library can keep tables below it: it takes paths for addresses."""
    if found := re.search(r"[\[\]]|%[0-9A-Fa-f]{2}", str(home)):
        raise ValueError(f"the library that keeps tables follows no path with '{found[0]}' in it: {home}")
    return home


class Settings(BaseSettings):
    """One frozen object; every path in it is absolute, whatever the working directory was."""

    model_config = SettingsConfigDict(env_prefix="CONTENDER_", frozen=True, extra="ignore")

    environment: Environment = Field(default="dev", description="which of three worlds this is")
    home: Annotated[Absolute, AfterValidator(_fit_for_tables)] = Field(
        default=Path(".contender"), description="all state lives below this folder"
    )
    use_cases: Absolute = Field(default=Path("data"), description="one folder per use case, each with a contract")
    lake: str = Field(default="", description="root of the Delta tables; empty: the folder `lake` in the home")
    ledger_url: str = Field(default="", description="SQLAlchemy URL of the ledger; empty: SQLite in the home")
    tracking_uri: str = Field(default="", description="MLflow's; empty: MLFLOW_TRACKING_URI, else SQLite in the home")
    spark_master: str = Field(default="local[*]", description="Spark master URL")
    spark_memory: str = Field(default="2g", pattern=r"^\d+[mg]$", description="heap of the Spark driver")
    prefect_port: int = Field(default=4200, ge=1, le=65_535, description="of the Prefect server that `up` starts")
    mlflow_port: int = Field(default=5000, ge=1, le=65_535, description="of the MLflow server that `up` starts")
    dashboard_port: int = Field(default=4300, ge=1, le=65_535, description="of the dashboard that `up` serves")
    prefect_auth: SecretStr = Field(
        default=SecretStr(""), description="NAME:PASSWORD asked by Prefect; empty: nobody is"
    )
    mlflow_auth: SecretStr = Field(default=SecretStr(""), description="NAME:PASSWORD asked by MLflow; empty: nobody is")
    notify: SecretStr = Field(
        default=SecretStr(""), description="Apprise addresses to tell, parted by blanks; empty: none"
    )
    maven_mirror: SecretStr = Field(
        default=SecretStr(""), description="URL that JARs are fetched from; empty: as ~/.m2/settings.xml says"
    )
    seed: int = Field(default=20_260_101, ge=0, description="seed of every random choice")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller gives, then variables of the environment at hand, then those of all."""
        here = init_settings().get("environment") or os.environ.get("CONTENDER_ENVIRONMENT", "dev")
        own = EnvSettingsSource(settings_cls, env_prefix=f"CONTENDER_{here.upper()}_")
        return init_settings, own, env_settings

    @property
    def state(self) -> Path:
        """Folder of this environment's state: the home itself in `dev`."""
        return self.home if self.environment == "dev" else self.home / "environments" / self.environment

    def name_of(self, use_case: str) -> str:
        """What the use case is called where environments share a server: its registered model, its ledger."""
        return use_case if self.environment == "dev" else f"{use_case}-{self.environment}"

    def lake_of(self, use_case: str) -> str:
        """Root folder or address of the tables of one use case."""
        root = self.lake.rstrip("/")
        if not root:
            return f"{self.state / 'lake'}/{use_case}"
        return f"{root}/{use_case}" if self.environment == "dev" else f"{root}/{self.environment}/{use_case}"

    def scratch_of(self, use_case: str) -> Path:
        """Folder for what may be deleted at any time when nothing runs."""
        return self.state / "scratch" / use_case

    @property
    def running(self) -> Path:
        """Folder of what `up` has running here: addresses, process ids, sockets. Nothing in it outlives a restart."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """Folder of what servers and workers print."""
        return self.state / "logs"

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger_url or f"sqlite:///{self.state / 'ledger.db'}"

    @property
    def tracking(self) -> str:
        """Address of MLflow; empty where it is SQLite in the home."""
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
