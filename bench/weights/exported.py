"""Which weights a network's file was exported from, where its user says so and the file does not."""

from __future__ import annotations

import re

from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.files.paths import expanded
from bench.schema.result import read_result

KEY = "model.exported_from"

_WAYS = (
    f"give the path of the weights that the file was exported from, of the result.json of a row in torch that has "
    f"them, or their SHA-256, as {KEY}=weights.pth"
)


def exported_from(named: str) -> str:
    """Give the SHA-256 of the weights that ``model.exported_from`` names.

    named: it itself, the path of a file of weights, or that of a row's folder or ``result.json``

    Raises:
        UserError: there is no such file, or the row has no weights of a network in torch.
    """
    if re.fullmatch(r"[0-9a-fA-F]{64}", named):
        return named.lower()
    path = expanded(named, KEY)
    path = path / "result.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{KEY}={named}: no such file; {_WAYS}")
    if path.suffix != ".json":
        return sha256_of(path)
    model = read_result(path).model
    if model is None or model.weights_sha256 is None:
        raise UserError(f"{KEY}={named}: this row has no file of weights; {_WAYS}")
    if model.runtime is not None:
        raise UserError(f"{KEY}={named}: this row is of {model.runtime.name}, and no network in torch; {_WAYS}")
    return model.weights_sha256


def refuse_other(said: str | None, runtime: str | None, of_file: str | None) -> None:
    """Refuse what a user says of a network that is no file of a runtime, or that says another thing itself.

    said: the SHA-256 that the user gave, None where nothing was said
    runtime: what runs the network; None for torch
    of_file: the SHA-256 that the file says that it was exported from, None where it says nothing

    Raises:
        UserError: it does not fit.
    """
    if said is None:
        return
    if runtime is None:
        raise UserError(f"{KEY}: the model runs in torch and was exported from nothing; leave it out")
    if of_file not in (None, said):
        raise UserError(
            f"{KEY}: the file says that it was exported from weights of SHA-256 {of_file}, and {said} was given; "
            f"leave {KEY} out"
        )
