"""Where this installation keeps things and what it talks to, read once from `CONTENDER_…` variables."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Absolute = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """One frozen object; every path in it is absolute, whatever the working directory was."""

    model_config = SettingsConfigDict(env_prefix="CONTENDER_", frozen=True, extra="ignore")

    home: Absolute = Field(default=Path(".contender"), description="all state lives below this folder")
    use_cases: Absolute = Field(default=Path("data"), description="one folder per use case, each with a contract")
    lake: str = Field(default="", description="root of the Delta tables; empty: the folder `lake` in the home")
    ledger_url: str = Field(default="", description="SQLAlchemy URL of the ledger; empty: SQLite in the home")
    spark_master: str = Field(default="local[*]", description="Spark master URL")
    spark_memory: str = Field(default="2g", pattern=r"^\d+[mg]$", description="heap of the Spark driver")
    seed: int = Field(default=20_260_101, ge=0, description="seed of every random choice")

    def lake_of(self, use_case: str) -> str:
        """Root folder or address of the tables of one use case."""
        return f"{self.lake.rstrip('/') or self.home / 'lake'}/{use_case}"

    def scratch_of(self, use_case: str) -> Path:
        """Folder for what may be deleted at any time when nothing runs."""
        return self.home / "scratch" / use_case

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"
