"""What the suite runs on when it runs with --containers."""

import psycopg


def test_the_suite_runs_on_the_image_and_not_on_the_embedded_server(postgres: str) -> None:
    """Its cluster is where the image has it, which no embedded one is."""
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SHOW data_directory").fetchone() == ("/var/lib/postgresql/18/docker",)
