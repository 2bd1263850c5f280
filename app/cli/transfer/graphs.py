"""Waiting for the graphs of an index, with a bar for the build."""

from app.cli.connection import Catalog
from app.cli.index.status import making
from app.cli.transfer.progress import step
from app.database.catalog import Index
from app.database.graph_completion import complete_graphs
from app.database.index_status import IndexStatus


async def completed(catalog: Catalog, index: Index) -> IndexStatus:
    with step("Building graphs", 100) as bar:

        def watch(status: IndexStatus) -> None:
            for graph in status.graphs:
                if graph.state == "building" and graph.progress is not None:
                    bar.complete(graph.progress.per_cent or 0, f"Building graphs{making(graph.progress)}")

        return await complete_graphs(catalog.database, index, watch)
