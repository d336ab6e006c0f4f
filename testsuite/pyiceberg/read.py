"""Reads a table of the lake as somebody would who has nothing but Iceberg's own Python library: through the
SQLite catalog and the table's metadata. Prints, as JSON, how many rows it has, how many identities, and a
hash of the content: the sum, modulo 2**64, of the first eight bytes of each row's SHA-256.

Usage: read.py CATALOG.db TABLE [ISO-TIME-FROM]
"""

import hashlib
import json
import struct
import sys

from pyiceberg.catalog.sql import SqlCatalog


def bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def micros(value) -> int:
    return 0 if value is None else round(value.timestamp() * 1_000_000)


def main() -> None:
    catalog = SqlCatalog("fanwatch", uri="sqlite:///" + sys.argv[1])
    table = catalog.load_table(sys.argv[2])
    scan = table.scan(row_filter=f"time >= '{sys.argv[3]}'") if len(sys.argv) > 3 else table.scan()
    rows, total, identities = 0, 0, set()
    for row in scan.to_arrow().to_pylist():
        text = "|".join(
            [row["fan_id"], str(row["run"]), str(row["seq"]), str(micros(row["time"])), bits(row["rpm"]),
             bits(row["score"]), row["state"],
             row["anomaly"] or "", str(row["late"]).lower(), str(micros(row["arrived"])), row["shard"] or ""])
        total = (total + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")) % 2**64
        identities.add((row["fan_id"], row["run"], row["seq"]))
        rows += 1
    print(json.dumps({"rows": rows, "distinct": len(identities), "hash": str(total),
                      "columns": len(table.schema().fields), "files": len(list(scan.plan_files()))}))


main()
