"""What a registered version does when MLflow loads or serves it (a models-from-code pyfunc).

MLflow copies this file into the version and runs it there. It needs torch and transformers; the
package diffutron travels with the version. Its parameters are those of the signature
(registry/package.py); MLflow drops any other one before it gets here, with a warning
that names it and those that are allowed.
"""

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class ServedModel(PythonModel):
    """Answers Turkish prompts: list of strings in, list of strings out."""

    def load_context(self, context: Any) -> None:
        import diffutron

        try:
            self.lm = diffutron.load(context.artifacts["model"])  # verifies the checksums
        except ValueError as error:
            raise MlflowException(str(error)) from error

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] the base returns nothing
        self, context: Any, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        """One answer per prompt; a parameter that is not given comes from the model's settings."""
        import diffutron

        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answers = diffutron.generate(self.lm, list(model_input), **given)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return [answer.text for answer in answers]


set_model(ServedModel())
