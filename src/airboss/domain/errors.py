"""Every error Airboss raises on purpose.

AirbossError
├── ConfigError            the configuration is wrong: file, line, nearest valid name
├── DataDirLocked          another Airboss has the data directory
├── SetupError             the machine lacks something: weights, a port, memory, a place to write to
│   └── WrongWeights       weights that are not there or not what they should be: trying again cannot help
├── StoreUnavailable       the record store does not answer
├── WrongCall              a verb was called wrongly
└── ApiError               answers a request in OpenAI's error shape
    ├── InvalidRequest         400  the caller's request is wrong
    ├── PolicyRefused          400  a policy of the operator's blocks what the call holds
    ├── Unauthenticated        401  no key, or one we do not know
    ├── PermissionDenied       403  the key may not do this
    ├── NotFound               404  no such route, model or record
    ├── MethodNotAllowed       405  the route exists, the method does not
    ├── RequestTimeout         408  the caller sent too slowly
    ├── BodyTooLarge           413  the body is over the limit
    ├── UnsupportedMedia       415  a content encoding we do not read
    ├── RateLimited            429  too much from one caller; later it may be taken
    ├── HeadersTooLarge        431  the request head is over the limit
    ├── InternalError          500  a defect of ours; never carries a trace
    ├── Unsupported            400  the deployment's model cannot do this
    ├── UpstreamRefused        4xx  the provider says that the request is wrong
    ├── UpstreamFailed         502  the provider failed or broke off
    ├── Unavailable            503  no plan, no target, draining
    └── UpstreamTimeout        504  first token, idle or total time ran out

A message gives the value seen and the next step. `status`, `code`, `type`, `log_level` and
`retryable` are fixed for each class, so that no caller has to guess them. So is the exit code of a verb: 2
where something must be changed before the same call can work (an argument, a setting, the machine), else 1.
"""

from __future__ import annotations

from typing import ClassVar, Literal

LogLevel = Literal["debug", "info", "warning", "error"]
"""How loud the structured log is about an error."""


class AirbossError(Exception):
    """Base of every error raised on purpose; `str(error)` is fit to be shown to a person."""

    exit_code: ClassVar[int] = 1
    log_level: ClassVar[LogLevel] = "error"
    type: str = "server_error"
    """What kind of error it is, in OpenAI's words."""
    code: str | None = None
    """A name of the error for programs, where it has one."""
    param: str | None = None
    """What of the call is at fault, where that has a name."""


class ConfigError(AirbossError):
    """The configuration is wrong. The message names the file and, where known, the line."""

    exit_code = 2
    type = "invalid_request_error"


class DataDirLocked(AirbossError):
    """Another Airboss has the data directory open."""

    exit_code = 2


class SetupError(AirbossError):
    """The machine lacks something that Airboss needs; the message says what to do."""

    exit_code = 2


class WrongWeights(SetupError):
    """Weights are not there, or are not those that are wanted; starting again unchanged cannot help."""


class StoreUnavailable(AirbossError):
    """The record store does not answer. Nothing is lost: the journal keeps what it has not taken."""

    log_level = "warning"


class WrongCall(AirbossError):
    """A verb was called wrongly."""

    exit_code = 2
    type = "invalid_request_error"


class ApiError(AirbossError):
    """An answer to a request other than the one hoped for."""

    status: ClassVar[int] = 500
    type = "invalid_request_error"
    default_code: ClassVar[str | None] = None
    retryable: ClassVar[bool] = False
    log_level: ClassVar[LogLevel] = "info"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def http_status(self) -> int:
        """The status to answer with."""
        return self.status


class InvalidRequest(ApiError):
    """The caller's request is wrong; sending it again unchanged cannot help."""

    status = 400


class PolicyRefused(ApiError):
    """A policy of the operator's blocks what the request or its answer holds. The message has no value."""

    status = 400
    default_code = "content_policy"


class Unauthenticated(ApiError):
    """No key, or one we do not know."""

    status = 401
    default_code = "invalid_api_key"


class PermissionDenied(ApiError):
    """The key is known and may not do this."""

    status = 403
    default_code = "permission_denied"


class NotFound(ApiError):
    """No such route, model or record."""

    status = 404
    default_code = "not_found"


class MethodNotAllowed(ApiError):
    """The route exists, the method does not."""

    status = 405
    default_code = "method_not_allowed"
    headers: bytes = b""
    """The answer's lines that tell which methods it has."""


class RequestTimeout(ApiError):
    """The caller sent its request too slowly."""

    status = 408
    default_code = "request_timeout"


class BodyTooLarge(ApiError):
    """The body is over the limit."""

    status = 413
    default_code = "request_too_large"


class UnsupportedMedia(ApiError):
    """A content encoding that we do not read."""

    status = 415
    default_code = "unsupported_media_type"


class RateLimited(ApiError):
    """Too much came from one caller; the same may be taken later."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    retryable = True


class HeadersTooLarge(ApiError):
    """The request's head is over the limit."""

    status = 431
    default_code = "headers_too_large"


class InternalError(ApiError):
    """A defect of ours. The message never carries a trace; the log does."""

    status = 500
    type = "server_error"
    default_code = "internal_error"
    log_level = "error"


class Unsupported(ApiError):
    """The deployment's model cannot do what was asked, whoever asks."""

    status = 400
    default_code = "unsupported"


class UpstreamRefused(ApiError):
    """The provider says that the request is wrong; its own status and words are passed on."""

    status = 400

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int,
        error_type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param, retry_after_s=retry_after_s)
        self.upstream_status = upstream_status
        self.upstream_type = error_type

    @property
    def http_status(self) -> int:
        """The provider's own 4xx status."""
        return self.upstream_status


class UpstreamFailed(ApiError):
    """The provider failed, broke off, or answered something that is not an answer."""

    status = 502
    type = "upstream_error"
    default_code = "upstream_error"
    retryable = True
    log_level = "warning"


class Unavailable(ApiError):
    """There is no plan yet, no target answers, or this worker is draining."""

    status = 503
    type = "server_error"
    default_code = "unavailable"
    retryable = True
    log_level = "warning"


class UpstreamTimeout(ApiError):
    """The time for the first token, between tokens, or for the whole call ran out."""

    status = 504
    type = "upstream_error"
    default_code = "upstream_timeout"
    retryable = True
    log_level = "warning"
