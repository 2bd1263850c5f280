"""`pgs3vectors explain`: why a query runs as it does."""

from typing import Annotated, Any

from cyclopts import Parameter
from pgvector import Vector

from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount
from app.cli.named_index import TOP_10, IndexName, SearchOptions, index_named
from app.cli.output import Json, say, show_one, write_json
from app.database.explanation import Explanation, explanation_of
from app.database.index_status import count_tail
from app.database.nearest import Search
from app.database.sampling import sample
from app.database.strategy import Approximate, filter_first_up_to

SHOWN_CHARACTERS = 200

Analyze = Annotated[bool, Parameter(negative="", help="Run the query too, with a stored vector, and show its times.")]


async def explain(
    name: IndexName,
    *,
    options: SearchOptions = TOP_10,
    analyze: Analyze = False,
    account: OfAccount = None,
    json: Json = False,
) -> None:
    """Show how QueryVectors runs: exactly or through the graphs, why, its SQL, and PostgreSQL's plan."""
    async with opened_catalog() as catalog:
        async with catalog.database.transaction() as transaction:
            index = await index_named(transaction, catalog, account, name)
        async with catalog.database.connection() as connection:
            stored = await sample(connection, index, 1, seed=0)
            vector = next(iter(stored.values()), Vector([1.0] * index.dimension))
            search = options.of(catalog, index, vector)
            explanation = await explanation_of(connection, search, analyze=analyze, as_json=json)
            tail = await count_tail(connection, index)
    summary = {
        "index": name,
        "strategy": strategy(explanation, len(index.graphs)),
        "why": why(explanation, search),
        "estimated_matches": explanation.matches,
        "graphs": len(index.graphs),
        "tail": tail,
        "coded": search.coded,
        "query_vector": next((f"that of {key}" for key in stored), "ones, because none is stored"),
    }
    if json:
        parts = {"sql": explanation.sql, "parameters": explanation.parameters, "plan": explanation.plan}
        write_json(summary | parts)
        return
    show_one(summary, json=False)
    say(f"\n{explanation.sql}\n")
    show_one({place: short(value) for place, value in explanation.parameters.items()}, json=False)
    say("\n" + "\n".join(explanation.plan))


def strategy(explanation: Explanation, graphs: int) -> str:
    match explanation.strategy:
        case Approximate(ef_search, iterative, candidates):
            on = ", hnsw.iterative_scan = relaxed_order" if iterative else ""
            by_graphs = [f"hnsw.ef_search = {ef_search}{on}"] if graphs else []
            by_codes = [f"{candidates} candidates by their codes"] if candidates else []
            return f"approximate, with {', and '.join([*by_graphs, *by_codes])}"
        case _:
            return "exact"


def why(explanation: Explanation, search: Search) -> str:
    if not isinstance(explanation.strategy, Approximate):
        return explanation.strategy.why
    reasons = f"top {search.top_k} with a recall target of {search.recall_target}"
    if explanation.matches is not None:
        vectors = sum(graph.vectors for graph in search.index.graphs)
        line = filter_first_up_to(vectors, search.top_k, are_values_indexed=search.are_values_indexed)
        reasons += f"; up to {line} matches the filter would be first"
    return f"{reasons}; what comes short of top {search.top_k} is searched again, in the end exactly"


def short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text)} characters)"
