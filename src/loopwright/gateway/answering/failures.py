"""Failures that are not the caller's: what a model or user code could not answer, and what the caller hears of it."""

from collections.abc import Mapping, Sequence

from loopwright.kernel.errors import LoopwrightError

_MOST_NAMED, _MOST_LISTED = 3, 20


class ModelFailed(LoopwrightError):
    """The model or a feature function raised; the request was fine."""

    code = "model_failed"
    http_status = 500


class ModelPaused(ModelFailed):
    """The model or a feature function hung or crashed, and is not tried again for a while."""

    code = "model_paused"
    http_status = 503


def model_failure(errors: Mapping[int, str], ids: Sequence[str], *, is_paused: bool) -> ModelFailed:
    """Return what a caller hears; rows are named where the others could have been answered.

    Args:
        errors: Row -> why it could not be answered, of one row at least.
        ids: What every row of the request has in the prediction log.
        is_paused: Rows were not tried.
    """
    rows = sorted(errors)
    why, logged = errors[rows[0]], {"prediction_ids": list(ids)}
    if is_paused:
        return ModelPaused(f"the model cannot answer now: {why}", next_step="send it again later", details=logged)
    if len(rows) == len(ids):
        return ModelFailed(
            f"the model could not answer: {why}",
            next_step="the deployment's owner finds it in the prediction log",
            details=logged,
        )
    named = ", ".join(f"rows[{row}]" for row in rows[:_MOST_NAMED])
    more = f" and {len(rows) - _MOST_NAMED} more" if len(rows) > _MOST_NAMED else ""
    return ModelFailed(
        f"the model could not answer {named}{more}: {why}",
        field=f"rows[{rows[0]}]",
        rule="a request is answered as a whole or not at all",
        next_step="send the other rows without these; the deployment's owner finds why in the prediction log",
        details={**logged, "rows": rows[:_MOST_LISTED]},
    )
