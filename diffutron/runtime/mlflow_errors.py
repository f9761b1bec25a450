"""What MLflow, its database and S3 say when they refuse: found out at once, and in one line."""

import re
from pathlib import Path
from urllib.parse import unquote

from diffutron.runtime.errors import UserError
from diffutron.runtime.moved_project import follow_move

DATABASE = "mlflow.db"  # in the working folder, where the environment names no store
FILE = "sqlite:///"
SERVERS = ("postgresql", "mysql", "mssql")  # databases with a login


class NoStoreError(UserError):
    """There is no database file where the registry should be."""


# What stands in the message -> what it means and what to do; {line} is its first line.
_ADVICE = (
    (
        "error code 401|not authenticated",
        "user or password refused; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    ("error code 403", "this user may not do that; ask the administrator of the server ({line})"),
    (
        "authentication failed|Access denied for user",
        "user or password refused; correct them in MLFLOW_TRACKING_URI",
    ),
    ("NoSuchBucket|bucket does not exist", "S3 has no such bucket; make it first ({line})"),
    (
        "SignatureDoesNotMatch|signature we calculated|InvalidAccessKeyId|AccessDenied"
        "|Unable to locate credentials",
        "S3 refuses the key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({line})",
    ),
    (
        "Could not connect to the endpoint",
        "S3 does not answer; correct MLFLOW_S3_ENDPOINT_URL or start it ({line})",
    ),
    (
        "too many 50. error responses|error code 50.",
        "the server failed and its log says why; where it keeps files in S3, look at its bucket "
        "and keys first",
    ),
    (
        "Max retries exceeded|Connection",
        "no answer; start the server (`diffutron up`) or unset MLFLOW_TRACKING_URI to use the "
        "file mlflow.db",
    ),
)


def reach(uri: str, *, make: bool = False) -> None:
    """Find out at once whether there is a store, and whether it lets us in.

    MLflow would make an empty database of its own, and repeat a wrong password for two minutes.

    uri: without one, MLflow's database file in the working folder.
    make: a database file that does not exist yet is no fault.

    Errors: what the database says (one of `store_errors`); a missing file is a
    `NoStoreError`, a missing driver a `UserError`.
    """
    if not uri or uri.startswith(FILE):
        file = Path(unquote(uri.removeprefix(FILE)) or DATABASE)
        if not make and not file.exists():
            raise NoStoreError(
                f"no registry here: {file} does not exist; run this where models were registered, "
                "or set MLFLOW_TRACKING_URI"
            )
        if file.exists():
            follow_move(file)
        return
    if not uri.startswith(SERVERS):
        return
    from sqlalchemy import create_engine

    try:
        engine = create_engine(uri)
    except ModuleNotFoundError as error:
        raise UserError(
            f"MLflow at {without_password(uri)}: the driver {error.name} is not installed; write "
            "postgresql+psycopg2:// (the extra `postgres` brings it)"
        ) from error
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def store_errors() -> tuple[type[Exception], ...]:
    """What MLflow lets through from its database and from S3, as far as they are installed."""
    found: list[type[Exception]] = []
    try:
        from sqlalchemy.exc import SQLAlchemyError

        found.append(SQLAlchemyError)
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        found += [Boto3Error, BotoCoreError, ClientError]
    except ImportError:
        pass
    return tuple(found)


def store_cause(error: BaseException) -> str:
    """One line: why the store refused, and what to do where that is known."""
    line = _first_line(error)
    chain, one = [line], error.__cause__ or error.__context__
    while one is not None:
        chain.append(_first_line(one))
        one = one.__cause__ or one.__context__
    for text in chain:
        for pattern, advice in _ADVICE:
            if re.search(pattern, text):
                return advice.format(line=text)
    return line


def without_password(uri: str) -> str:
    """The address as it may stand in a log: nothing between `//` and `@`."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
