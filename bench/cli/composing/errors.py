"""Gives each error of Hydra's about a command line in one line of our own, with the nearest valid name.

It imports little, so that a mistyped key is answered at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import omegaconf
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from bench.errors import UserError, nearest
from bench.schema.config import BenchConfig, FinetuneConfig, GateConfig
from bench.schema.typed.hydra_text import as_read, quoted
from bench.schema.typed.overrides import FREE_FORM, GROUPS, as_typed, working_spelling

_READABLE_KEY = re.compile(r"[\w$][\w$/@:.-]*", re.ASCII)


@contextlib.contextmanager
def in_one_line(configs: Path) -> Iterator[None]:
    """Raise errors of Hydra and OmegaConf in the block as a UserError.

    configs: the folder of the configurations, in which the nearest option is looked up
    """
    try:
        yield
    except Exception as error:
        told = as_user_error(error, configs)
        if told is None:
            raise
        raise told from error


def as_user_error(error: Exception, configs: Path) -> UserError | None:
    """Give an error of Hydra or OmegaConf about a command line as a UserError; None for any other exception."""
    told = _told(error, configs)
    return None if told is None else UserError(as_read(str(told)))


def _told(error: Exception, configs: Path) -> UserError | None:
    text = str(error)
    if isinstance(error, MissingConfigException):
        if match := re.search(r"Could not find '([^/']+)/([^']+)'", text):
            group, option = match.groups()
            options = [p.stem for p in (configs / group).glob("*.yaml")]
            return UserError(f"{group}={option}: no such {group}; {nearest(option, options)}")
        return UserError(text)
    if isinstance(error, OverrideParseException):
        return _not_read(error)
    if isinstance(error, ConfigCompositionException):
        if isinstance(error.__cause__, OmegaConfBaseException) and not isinstance(
            error.__cause__, omegaconf.errors.ConfigAttributeError | omegaconf.errors.ConfigKeyError
        ):
            return _schema_error(error.__cause__)
        if match := re.search(r"Could not override '([^']+)'|Key '([^']+)'", text):
            key = match.group(1) or match.group(2)
            return UserError(f"{key}: no such key; {nearest(key, [*schema_keys(), *GROUPS])}")
        return UserError(text)
    if isinstance(error, OmegaConfBaseException):
        return _schema_error(error)
    if isinstance(error, AssertionError) and re.fullmatch(r"Unexpected type( for root)?: None(Type)?", text):
        return UserError(
            "a key of finetune or gate needs that group; give finetune=default, or gate=default; a key of "
            "dataset.shapes or dataset.train needs a dataset that has it, such as dataset=shapes"
        )
    if isinstance(error, ValueError) and "Config group override" in text:
        return UserError(f"a group ({', '.join(GROUPS)}) cannot be null; leave it out for its default")
    return UserError(text) if isinstance(error, HydraException) else None


def _not_read(error: OverrideParseException) -> UserError:
    """Say of an override that Hydra cannot read how it is spelled."""
    override = as_read(error.override)
    if any(override.lstrip("+").startswith(form.key) for form in FREE_FORM):
        override = override.lstrip("+")  # most often it is ours and not the user's
    if "=" not in override:
        return UserError(f"{override}: an argument is KEY=VALUE")
    key = error.override.lstrip("+~").partition("=")[0]
    if not _READABLE_KEY.fullmatch(key):
        return UserError(f"{as_read(key)}: no such key; {nearest(key, [*schema_keys(), *GROUPS])}")
    if spelling := working_spelling(override):
        return UserError(f"{override}: Hydra cannot read the value; for a text give {spelling}")
    value = override.partition("=")[2]
    text = f"; where it is one text, give {as_typed(f'{as_read(key)}={quoted(value)}')}" if "options." in key else ""
    return UserError(
        f"{override}: Hydra cannot read the value; in a list or a map put each text that is more than a word into "
        f"quotation marks, as in ['a b', 'c']{text}"
    )


def schema_keys() -> Iterator[str]:
    """Give every dotted key of the schema: ``device``, ``protocol.min_samples``, ..."""
    yield from _keys_of(BenchConfig(finetune=FinetuneConfig(), gate=GateConfig()), "")


def _keys_of(node: object, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(node):  # type: ignore[arg-type]
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _schema_error(error: OmegaConfBaseException) -> UserError:
    key = str(error.full_key or "")
    if isinstance(error, omegaconf.errors.ConfigKeyError):
        return UserError(f"{key}: no such key; {nearest(key, schema_keys())}")
    if isinstance(error, omegaconf.errors.MissingMandatoryValue):
        return UserError(f"{key} is missing; give {key}=VALUE")
    if "is not Optional" in str(error):
        return UserError(f"{key}=null: this key needs a value; give one, or leave it out for its default")
    return UserError(f"{key}: {str(error).splitlines()[0]}".removeprefix(": "))
