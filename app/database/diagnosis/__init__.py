"""What can be wrong with a database, looked at without changing anything: each look is a function to findings."""
