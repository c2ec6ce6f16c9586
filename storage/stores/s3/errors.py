"""A server's refusals as errors of Stemworks: the object, what is wrong, the remedy.

The server's own message stays in the chained error; only its short code is repeated.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as UnreachableError

from storage.environment import S3_ENDPOINT
from storage.errors import (
    IntegrityError,
    LockedError,
    MachineError,
    ManifestError,
    SourceError,
    StemworksError,
)
from storage.stores.s3.client import RETRIES, settings

RIGHTS = "s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload"

NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

ANSWERS: list[tuple[set[str], type[StemworksError], str]] = [
    ({"NoSuchBucket"}, MachineError,
     "there is no such bucket; create it, or correct the address or the endpoint"),
    ({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId",
      "ExpiredToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed", "401"}, MachineError,
     "the credentials are refused; renew them, or check profile, region and endpoint"),
    ({"RequestTimeTooSkewed"}, MachineError,
     "this machine's clock differs from the server's by more than 15 minutes; set it"),
    ({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"}, MachineError,
     "the server has no space left or the quota is used up; free some, or use another --home"),
    ({"PermanentRedirect", "TemporaryRedirect", "301", "307"}, MachineError,
     "the bucket is in another region; set AWS_REGION to it"),
    ({"AccessDenied", "AllAccessDisabled", "403"}, MachineError,
     f"access is denied; use other credentials, or grant these rights: {RIGHTS}"),
    ({"NoSuchKey", "404"}, ManifestError, "it is missing; run the stage that makes it again"),
    ({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"},
     IntegrityError,
     "its bytes were altered in transit or in storage; run the stage that makes it again, and "
     "check memory and disk if that recurs"),
    ({"InvalidRange", "416"}, IntegrityError,
     "it is shorter than expected; run the stage that makes it again"),
    ({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted", "409", "412"},
     LockedError,
     "another process writes it at the same time; stop one of the two runs, then run again"),
    ({"SlowDown", "ServiceUnavailable", "RequestLimitExceeded", "TooManyRequests",
      "ThrottlingException", "Throttling", "429", "503"}, SourceError,
     f"the server is still overloaded after {RETRIES.attempts} attempts; use fewer workers, or run "
     "again later"),
]  # fmt: skip
"""Codes or HTTP statuses, the error they become, and what its message says."""

MISSING = frozenset({"NoSuchKey", "404"})
SHORT = frozenset({"InvalidRange", "416"})
REFUSED = frozenset({"409", "412"})
"""A condition was not met, or another process was writing."""

UNKNOWN = frozenset({"400", "405", "501"})
"""Statuses of servers that do not know a header, or a request."""

ALTERED = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})


def names_of(error: ClientError) -> tuple[str, str]:
    """Return the server's error code, then the HTTP status."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(error.response.get("Error", {}).get("Code", "")), str(status)


def says(error: ClientError, names: frozenset[str]) -> bool:
    """Whether an error has one of these codes or statuses.

    A missing bucket is not a missing object, although both have status 404.
    """
    code, status = names_of(error)
    return code in names or (status in names and code != "NoSuchBucket")


@contextmanager
def answered(url: str) -> Iterator[None]:
    """Turn every error that boto3 raises about `url` into one of Stemworks.

    Raises:
        MachineError: credentials, rights, the bucket or space are missing.
        ManifestError: there is no such object.
        IntegrityError: bytes were altered, or are fewer than expected.
        LockedError: another process writes the same object.
        SourceError: the server does not answer, or every attempt failed.
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(url, error) from error
    except NO_CREDENTIALS as error:
        raise MachineError(
            f"cannot use {url}: no credentials were found ({type(error).__name__}); set "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except (HTTPClientError, UnreachableError) as error:
        raise SourceError(
            f"cannot reach the server of {url} at {settings().endpoint or 'AWS'} "
            f"({type(error).__name__}, {RETRIES.attempts} attempts); check the network and "
            f"{S3_ENDPOINT.name}, then run again"
        ) from error
    except BotoCoreError as error:
        raise SourceError(
            f"cannot use {url} ({type(error).__name__}); check its name and the AWS settings"
        ) from error


def _refusal(url: str, error: ClientError) -> StemworksError:
    code, status = names_of(error)
    for name in (code, status):
        for names, kind, remedy in ANSWERS:
            if name in names:
                return kind(f"{url}: {remedy} ({_named(code, status)})")
    return SourceError(
        f"{url}: the server failed at {error.operation_name} ({_named(code, status)}); run again "
        "later, or ask its operator"
    )


def _named(code: str, status: str) -> str:
    return f"HTTP {status}" if code in ("", status) else f"{code}, HTTP {status}"
