"""One result among others: a row of every table, of a report and of a gate alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.schema.result import Result


@dataclass(frozen=True)
class Row:
    """One ``result.json``: where it lies (``path``), what it says, and the path that a report prints (``shown``)."""

    path: Path
    result: Result
    shown: str = ""

    @property
    def job(self) -> str:
        """The name of the job's folder, which is spelled from all that was measured."""
        return self.path.parent.name

    @property
    def model(self) -> str:
        """The model's option name."""
        return str(self.setting("model", "name") or "model")

    @property
    def weights(self) -> str:
        """``random``, ``zoo``, ``own``, ``fine-tuned`` or the path of a file."""
        return self.result.model.weights if self.result.model else str(self.setting("model", "weights", default=""))

    @property
    def random_weights(self) -> bool:
        """Whether the model is untrained, so that its AP is noise."""
        return self.weights == "random" and self.result.finetune is None

    def setting(self, *keys: str, default: Any = None) -> Any:
        """A value of the job's configuration, ``default`` where it is absent or null."""
        value: Any = self.result.config
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return default if value is None else value
