"""What a run has found: a table on the terminal, JSON, and a page for `docs/`."""

import json
import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scripts.fault_injection.trial import Result, Verdict

STYLES: dict[Verdict, str] = {"passed": "green", "failed": "red", "not run": "yellow"}
COLUMNS = ("experiment", "verdict", "writes", "answers other than 200", "served again", "seconds", "findings and notes")


def show(results: Sequence[Result], console: Console) -> None:
    table = Table(*COLUMNS)
    for result in results:
        name, verdict, *rest = map(escape, row(result))
        table.add_row(name, f"[{STYLES[result.verdict]}]{verdict}", *rest)
    console.print(table)
    console.print(summary(results))


def write_json(results: Sequence[Result]) -> None:
    documents = [msgspec.to_builtins(result) | {"verdict": result.verdict} for result in results]
    json.dump(documents, sys.stdout, indent=1)
    print()


def row(result: Result) -> tuple[str, ...]:
    others = {what: times for what, times in sorted(result.answers.items()) if what != "200"}
    return (
        result.experiment,
        result.verdict,
        f"{result.acknowledged:,}" if result.acknowledged else "",
        ", ".join(f"{times:,} {short(what)}" for what, times in others.items()),
        f"{max(result.recovered):.1f} s" if result.recovered else "",
        f"{result.seconds:.0f}",
        "; ".join([*(f"{j.judge}: {j.found}" for j in result.failed), *result.notes, *filter(None, [result.not_run])]),
    )


def short(error_type: str) -> str:
    return error_type.removesuffix("Exception")


def summary(results: Sequence[Result]) -> str:
    verdicts = [result.verdict for result in results]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES)


PAGE = """# What `./scripts/faults` found

Everything is real: the signed API over HTTP, PostgreSQL in processes of its own, clients that keep a ledger of what
they were told outside of the database. A write whose outcome a client does not know (5xx, no answer) is sent again
until it is acknowledged. Run it on your own machine: `./scripts/faults --help`.

The judges: no acknowledged write is lost and no delete undone; no part of a batch is ever seen; every answer of 200
is right (data, metadata, distances, the newest acknowledged version); every other answer is an error of the service
model with type, status, JSON body and request id, and one that the fault explains; every client is served again
without hands, within a stated time; nothing stays behind in PostgreSQL (transactions, locks, invalid indexes). What
an experiment judges beside that stands with it. `writes` were acknowledged; `served again` is the longest time from
the end of the fault.

{context}

| experiment | what is broken | verdict | writes | answers other than 200 | served again |
|---|---|---|---|---|---|
{rows}

{details}"""


def markdown(results: Sequence[Result], context: str) -> str:
    rows = [(*row(result), result.what) for result in results]
    lines = [f"| `{r[0]}` | {r[-1]} | {bold(r[1])} | {r[2]} | {r[3]} | {r[4]} |" for r in rows]
    details = [f"- `{result.experiment}`: {row(result)[-1]}" for result in results if row(result)[-1]]
    notes = "## Findings and notes\n\n" + "\n".join(details) + "\n" if details else ""
    return PAGE.format(context=f"{context} {summary(results)}.", rows="\n".join(lines), details=notes)


def bold(verdict: str) -> str:
    return verdict if verdict == "passed" else f"**{verdict}**"
