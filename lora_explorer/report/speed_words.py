"""Time, speed and price in words: always a range, never one number."""

from __future__ import annotations

from lora_explorer.report import words
from lora_explorer.speed import Price, Range, RunEstimate, SpeedEstimate
from lora_explorer.speed.result import Origin

_LIMITS = {
    "products": "most of the time goes into products of matrices",
    "memory": "most of the time goes into moving bytes to and from the card's memory",
    "host": "the card waits for the host to launch its kernels: more tokens at once cost little",
}


# The longest unit that is still a number of some size, and its seconds.
_UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0))
_FEWEST = 1.5
_ORIGINS: dict[Origin, str] = {
    "previews": "previews here",
    "card": "its public figures",
    "others": "cards like it",
}


def tokens_per_second(speed: Range) -> str:
    """3,060 – 4,510."""
    return f"{_rounded(speed.low)} – {_rounded(speed.high)}"


def seconds(taken: Range) -> str:
    """0.71 – 1.02 s, 53 – 78 min, 2.4 – 3.6 h."""
    unit, size = next(((unit, size) for unit, size in _UNITS if taken.low >= _FEWEST * size), ("s", 1.0))
    return f"{_rounded(taken.low / size)} – {_rounded(taken.high / size)} {unit}"


def origin(estimate: SpeedEstimate) -> str:
    """What the estimate is known by, in two words."""
    return _ORIGINS[estimate.origin]


def dollars(cost: Range) -> str:
    """$1.23 – $1.82."""
    return f"{usd(cost.low)} – {usd(cost.high)}"


def usd(amount: float) -> str:
    """$1.23, or $0.0012: two digits that count at least."""
    return f"${amount:,.2f}" if amount >= 0.01 else f"${amount:.2g}"


def price_sentence(price: Price) -> str:
    """Whose prices the costs are from, and of when."""
    if not price.date:
        return f"Costs are at {usd(price.usd_per_hour)} an hour, as typed."
    return f"{price_source(price)} Type your own where it differs."


def price_source(price: Price) -> str:
    """The same of a price on file."""
    return f"Costs are at prices of {price.date}: {price.source}."


def change(factor: float | None) -> str:
    """12 % slower, 3 % faster, as fast: tokens a second over those before; nothing where that is unknown."""
    if factor is None:
        return ""
    percent = round(100 * (factor - 1))
    if percent == 0:
        return "as fast"
    return f"{abs(percent):,} % {'faster' if percent > 0 else 'slower'}"


def run_sentence(run: RunEstimate) -> str:
    """How many steps the run has, and what ends it."""
    steps, tokens = words.counted(run.steps, "step"), words.exact_count(run.speed.tokens_per_step)
    until = "max_steps ends the run" if run.capped else f"{run.steps_per_epoch or 0:,} in an epoch"
    return f"The run has {steps} of {words.counted(run.effective_batch_size, 'row')} and {tokens} tokens; {until}."


def work_sentence(estimate: SpeedEstimate) -> str:
    """What a step computes and moves."""
    return (
        f"A step makes {words.short_count(estimate.flops_per_step)} floating point operations and moves "
        f"{words.file_size(estimate.bytes_moved_per_step)} in {words.counted(estimate.kernels_per_step, 'kernel')}."
    )


def operations(count: int) -> str:
    """615 TFLOP: floating point operations, three digits that count."""
    for size, unit in ((10**15, "PFLOP"), (10**12, "TFLOP")):
        if count >= size:
            return f"{_rounded(count / size)} {unit}"
    return f"{_rounded(count / 10**9)} GFLOP"


def limit_sentence(estimate: SpeedEstimate) -> str:
    """What the step spends its time on."""
    return f"On {estimate.gpu} {_LIMITS[estimate.limited_by]}."


def _rounded(value: float) -> str:
    """Three digits that count: an estimate is not better than that."""
    if value < 100:
        return f"{value:.3g}"
    digits = len(str(int(value))) - 3
    return f"{round(value, -digits):,.0f}"
