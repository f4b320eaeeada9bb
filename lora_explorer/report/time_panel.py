"""How long a run takes on one card and what it costs, for the page: ranges, and how far off such estimates were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_explorer.report import speed_words, words
from lora_explorer.report.html import Html, join, tag

if TYPE_CHECKING:
    from lora_explorer.speed import Price, RunEstimate, SpeedEstimate
    from lora_explorer.speed.data_sets import DataSetSize
    from lora_explorer.speed.on_cards import CardTime

WHOLE = "fit-whole"
_ROWS_MISSING = "say how many rows the data has"
_PRICE_MISSING = "no price on file for this card: type one"


def time_panel(time: CardTime, price: Price | None, data: DataSetSize | None = None) -> Html:
    """price: typed, or on file; None where there is none. data: what is proposed where its size is not typed."""
    speed, run = time.speed, time.run
    figures = tag(
        "dl",
        *_figure("Tokens a second", speed_words.tokens_per_second(speed.tokens_per_second), "fit-pace"),
        *_figure("A step", speed_words.seconds(speed.step_seconds), "fit-step"),
        *_figure("The run", speed_words.seconds(run.seconds) if run else _ROWS_MISSING, "fit-hours"),
        *_figure("It costs", _cost(run, price), "fit-cost"),
        *_figure("A million tokens", _cost_of_tokens(speed, price), "fit-million"),
        *_figure(
            "Operations of a step", speed_words.operations(speed.flops_per_step), "fit-flops", speed.flops_per_step
        ),
        class_="fit-figures",
    )
    return tag("div", figures, _sentences(time, price, data), class_=WHOLE, data_card=speed.gpu)


def unknown(reason: str) -> Html:
    """In place of the figures."""
    return tag("div", tag("p", reason, class_="quiet-line"), class_=WHOLE)


def _figure(name: str, value: str, elem_id: str, exact: int | None = None) -> tuple[Html, Html]:
    is_missing = value in (_ROWS_MISSING, _PRICE_MISSING)
    return tag("dt", name), tag("dd", value, id=elem_id, data_value=exact, class_="quiet-line" if is_missing else None)


def _cost(run: RunEstimate | None, price: Price | None) -> str:
    if price is None:
        return _PRICE_MISSING
    return speed_words.dollars(run.dollars) if run and run.dollars else _ROWS_MISSING


def _cost_of_tokens(speed: SpeedEstimate, price: Price | None) -> str:
    if price is None:
        return _PRICE_MISSING
    return speed_words.dollars(speed.tokens_per_second.of(price.usd_per_hour * 1e6 / 3600))


def _sentences(time: CardTime, price: Price | None, data: DataSetSize | None) -> Html:
    speed, run = time.speed, time.run
    said = [
        f"{speed.gpu} does not hold this run: times are as if it did." if not time.fit.fits else "",
        speed_words.run_sentence(run) if run else "",
        _proposed(data) if data else "",
        speed.based_on,
        speed_words.price_sentence(price) if price else "",
    ]
    shown = [tag("p", sentence, class_="quiet-line") for sentence in said if sentence]
    return join(*shown, _behind(speed), _assumed(time))


def _proposed(data: DataSetSize) -> str:
    """What is on file of the data that the YAML names."""
    length = f" of about {words.counted(data.tokens, 'token')}" if data.tokens else ""
    size = f"{words.counted(data.rows, 'row')}{length}"
    return f"{data.path} has {size}, which holds where nothing is typed ({data.source})."


def _behind(speed: SpeedEstimate) -> Html:
    """What a step does, operation by operation of the trace, and where its time goes."""
    whole = sum(speed.stages.values()) or 1.0
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", f"{100 * taken / whole:.0f} %", class_="number"))
        for name, taken in (*speed.stages.items(), *speed.kinds.items())
    ]
    head = tag("thead", tag("tr", tag("th", "Part of the step", scope="col"), tag("th", "Share", scope="col")))
    return tag(
        "details",
        tag("summary", "What does a step do?", data_keep="fit-step-work"),
        tag("p", speed_words.work_sentence(speed)),
        tag("p", speed_words.limit_sentence(speed)),
        tag("table", head, tag("tbody", *rows)),
        data_keep="fit-step-work",
    )


def _assumed(time: CardTime) -> Html:
    listed = tag("ul", *(tag("li", sentence) for sentence in (time.run or time.speed).assumptions))
    return tag("details", tag("summary", "What this assumes", data_keep="fit-assumed"), listed, data_keep="fit-assumed")
