"""How a number is written in the report; one that was not measured says so."""

NOT_MEASURED = "not measured"


def percent(value: float | None, *, digits: int = 1) -> str:
    """A share of 0 to 1 as `78.5`, the way the published tables write it (x 100)."""
    return NOT_MEASURED if value is None else f"{100 * value:.{digits}f}"


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval of a share as `72.1 - 83.7`; empty when it was not measured."""
    return "" if low is None or high is None else f"{percent(low)} - {percent(high)}"


def decimal(value: float | None, *, digits: int = 3) -> str:
    """A number with a fixed number of decimals; none from a thousand on."""
    if value is not None and abs(value) >= 1000:
        return count(value)
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    """`p < 0.001` below a thousandth, else three decimals; empty when it was not measured."""
    if value is None:
        return ""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def count(value: float | None) -> str:
    """A whole number with thin groups of three: `16 384`."""
    return NOT_MEASURED if value is None else f"{round(value):,}".replace(",", " ")


def duration(seconds: float | None) -> str:
    """`47 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def scalar(value: object) -> str:
    """Any plain value of a metrics file, short enough for a table cell."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else count(value)
    return str(value)
