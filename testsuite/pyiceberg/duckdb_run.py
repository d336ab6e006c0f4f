"""Runs the SQL of its standard input in DuckDB and prints the rows of each statement. INSTALL finds the extensions in
the Python packages that carry them: tests have no way to DuckDB's own repository. DuckDB checks their signatures.

Usage: duckdb_run.py EXTENSION-DIRECTORY < FILE.sql
"""

import importlib.util
import pathlib
import sys

import duckdb


def main() -> None:
    db = duckdb.connect(config={"extension_directory": sys.argv[1]})
    for name in ("avro", "httpfs", "iceberg"):
        package = importlib.util.find_spec("duckdb_extension_" + name)
        for file in pathlib.Path(package.submodule_search_locations[0]).glob("extensions/*/*.duckdb_extension"):
            db.execute(f"INSTALL '{file}'")
    for statement in duckdb.extract_statements(sys.stdin.read()):
        for row in db.execute(statement).to_arrow_table().to_pylist():
            print(row)


main()
