"""The HTTP connections of a download: which redirects they follow, and how long they wait for an answer's head."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from bench.errors import UserError
from bench.private.texts import HIDDEN, without_credentials, without_secrets

TIMEOUT_S = 30.0
"""Longest silence of a server, in seconds."""

HEAD_S = 60.0
"""Seconds until the head of an answer must be complete, however slowly it comes."""


class CutOffError(Exception):
    """The connection failed in a way that may not happen again at the next attempt."""


class RejectedError(Exception):
    """The server has no such range of bytes: what was downloaded before is of another file."""


def connect(url: str, headers: Mapping[str, str]) -> Any:
    """Ask for the file behind ``url``; give the answer, whose status is 200 or 206, to be closed by the caller.

    A user and a password in the address are sent to its own host alone.

    Raises:
        UserError: the server has no such file, or leads from https to a connection without encryption.
        CutOffError: it cannot be reached, or not now.
        RejectedError: the range is not there.
    """
    address, login = _split_login(url)
    request = urllib.request.Request(address, headers=dict(headers))
    if login:
        request.add_unredirected_header("Authorization", login)
    opener = urllib.request.build_opener(_HttpHandler, _HttpsHandler, _Redirects)
    try:
        response = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise _of_status(url, error.code, str(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise CutOffError(hidden(reason, url)) from None
    if response.status not in (200, 206):
        response.close()
        raise _of_status(url, response.status, response.reason)
    return response


def hidden(text: str, url: str) -> str:
    """Give a text without what may be secret in ``url``: user, password and query."""
    parts = urllib.parse.urlsplit(url)
    secret = (parts.query, parts.netloc.rpartition("@")[0], parts.password or "")
    return without_secrets(text, dict.fromkeys(secret, HIDDEN))


def _of_status(url: str, status: int, reason: str) -> Exception:
    answer = hidden(f"the server answers {status} {reason}", url)
    if status == 416:
        return RejectedError(answer)
    if status >= 500 or status in (408, 425, 429):
        return CutOffError(answer)
    return UserError(f"{without_credentials(url)}: {answer}; correct model.zoo.url")


def _split_login(url: str) -> tuple[str, str | None]:
    """Give the address without user and password, and the header that says them."""
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    encoded = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), f"Basic {encoded}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to http or https, but never from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = (urllib.parse.urlsplit(address).scheme for address in (req.full_url, newurl))
        if new not in ("http", "https") or (old == "https" and new != "https"):
            raise UserError(
                f"{without_credentials(req.full_url)}: the server leads on from {old} to {new} "
                f"({without_credentials(newurl)}), where anyone on the way could change the weights; correct "
                f"model.zoo.url"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Impatient(http.client.HTTPConnection):
    """Ends a connection on which the head of the answer has not come after :data:`HEAD_S`.

    The time limit of a socket is for each piece that comes, and a head may come in very many.
    """

    def getresponse(self) -> http.client.HTTPResponse:
        watch = threading.Timer(HEAD_S, functools.partial(_shut, self.sock))
        watch.daemon = True
        watch.start()
        try:
            return super().getresponse()
        finally:
            watch.cancel()


class _ImpatientHttps(_Impatient, http.client.HTTPSConnection):
    """The same with encryption."""


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_Impatient, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_ImpatientHttps, req, context=ssl.create_default_context())


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
