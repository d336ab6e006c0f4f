"""Rewrites the data files of a table that hold readings of a period, as somebody would who compacts it with
Iceberg's own Python library: its rows are read, sorted by time alone, and put back in place of what was there, in
Snappy-compressed files of pyarrow's layout. Prints, as JSON, how many rows were rewritten.

Usage: rewrite.py CATALOG.db TABLE ISO-TIME-FROM ISO-TIME-TO
"""

import json
import sys

from pyiceberg.catalog.sql import SqlCatalog


def main() -> None:
    catalog = SqlCatalog("fanwatch", uri="sqlite:///" + sys.argv[1])
    table = catalog.load_table(sys.argv[2])
    period = f"time >= '{sys.argv[3]}' and time < '{sys.argv[4]}'"
    with table.transaction() as tx:
        tx.set_properties({"write.parquet.compression-codec": "snappy"})
    rows = table.scan(row_filter=period).to_arrow().sort_by("time")
    table.overwrite(rows, overwrite_filter=period)
    print(json.dumps({"rows": rows.num_rows}))


main()
