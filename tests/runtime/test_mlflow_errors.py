"""Refusals of MLflow, its database and S3 in one line, and a wrong password at once."""

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import EndpointConnectionError
from sqlalchemy.exc import OperationalError

from diffutron.runtime.errors import UserError
from diffutron.runtime.mlflow_errors import reach, store_cause, store_errors, without_password


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("API request failed with error code 401 != 200. Response body: ''", "password refused"),
        ("API request failed with error code 403 != 200", "this user may not do that"),
        ('FATAL:  password authentication failed for user "x"\nmore', "password refused; correct"),
        ("to models/a: (NoSuchBucket) when calling PutObject", "no such bucket; make it first"),
        ("(SignatureDoesNotMatch) when calling PutObject", "S3 refuses the key; set AWS_ACCESS"),
        ("Unable to locate credentials", "S3 refuses the key"),
        ('Could not connect to the endpoint URL: "http://a"', "S3 does not answer"),
        ("Max retries exceeded (Caused by too many 500 error responses)", "the server failed"),
        ("connection to server at x failed: Connection refused", "no answer; start the server"),
        ("Registered model alias x not found.\nsecond line", "Registered model alias x not found."),
    ],
)
def test_each_refusal_is_one_line_with_what_to_do(said, told):
    cause = store_cause(ValueError(said))
    assert told in cause
    assert "\n" not in cause


def test_the_cause_below_is_found():
    """MLflow says of a download only that it failed."""
    error = ValueError("Failed to download artifacts from path 'm'")
    error.__cause__ = S3UploadFailedError("An error occurred (NoSuchBucket) in models")
    assert "no such bucket; make it first (An error" in store_cause(error)


def test_an_error_without_a_text_has_its_name():
    assert store_cause(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("kind", [OperationalError, S3UploadFailedError, EndpointConnectionError])
def test_what_lies_below_mlflow_is_caught(kind):
    assert issubclass(kind, store_errors())


def test_a_database_that_is_down_is_told_at_once():
    with pytest.raises(OperationalError, match="Connection refused"):
        reach("postgresql+psycopg2://user:secret@127.0.0.1:9/mlflow")


def test_a_driver_that_is_missing_is_named():
    with pytest.raises(UserError, match="the driver \\w+ is not installed") as caught:
        reach("postgresql+pg8000://user:secret@127.0.0.1:9/mlflow")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "./mlruns"])
def test_other_stores_are_left_to_mlflow(uri, tmp_path):
    reach(uri)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("uri", "file"), [("", "mlflow.db"), ("sqlite:///a.db", "a.db")])
def test_a_database_file_is_made_only_for_what_writes(uri, file, tmp_path):
    with pytest.raises(UserError, match=f"no registry here: {file} does not exist"):
        reach(uri)
    reach(uri, make=True)  # left to MLflow
    assert not any(tmp_path.iterdir())
    (tmp_path / file).touch()
    reach(uri)


def test_passwords_do_not_reach_a_message():
    assert without_password("postgresql://user:secret@host/db") == "postgresql://host/db"
    assert without_password("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert without_password("./mlruns") == "./mlruns"
