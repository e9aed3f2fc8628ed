"""Reads a folder of Parquet files as ordinary users do, without headwater's manifest, and says what each reader saw.

usage: read_parquet.py FOLDER [--key COLUMN[,COLUMN...]]
       read_parquet.py --serve      (one request a line: {"folder": ..., "key": [...]}; one answer a line)

FOLDER is a local path or s3://bucket/prefix (the endpoint and the keys come from AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY). The answer has one object for each way of reading:

    {"duckdb_glob": {"rows": 10, "duplicates": 0, "digest": "..."}, "polars_folder": {...}, ...}

`duplicates` counts rows whose key was seen before; without a key the whole row is the key. `digest` is of all rows
in sorted order, the same for every reader that saw the same rows. A folder without files has 0 rows. A key column may
be a field of a struct: `window.start`.

Files may be published meanwhile: readers list the folder one after the other, so a later one may see more rows.
A reader that fails is reported with its "error" in place of the numbers, and the exit code is 1. Polars refuses a
folder (but not a glob) in which anything but Parquet files lies, staged files too: that is reported as "refused",
and is no failure while a query runs. It looks at each file after it has listed them all, so that a staged file that was
published in between is not found any more: that is "refused" too.
"""

import argparse
import datetime
import decimal
import functools
import hashlib
import json
import os
import sys
from urllib.parse import urlparse

import duckdb
import polars
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from fsspec.implementations.arrow import ArrowFSWrapper


class NotOnlyParquet(Exception):
    """The reader wants nothing but Parquet files in a folder, hidden ones included."""


def s3_filesystem():
    endpoint = urlparse(os.environ["AWS_ENDPOINT_URL"])
    return pyarrow.fs.S3FileSystem(
        scheme=endpoint.scheme,
        endpoint_override=endpoint.netloc,
        region=os.environ.get("AWS_REGION", "us-east-1"),
    )


class S3Wrapper(ArrowFSWrapper):
    protocol = "s3"

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("s3://").rstrip("/")


def is_s3(folder):
    return folder.startswith("s3://")


def for_pyarrow(folder):
    return (folder.removeprefix("s3://"), s3_filesystem()) if is_s3(folder) else (folder, None)


def exists(folder):
    path, files = for_pyarrow(folder)
    files = files or pyarrow.fs.LocalFileSystem()
    return files.get_file_info([path])[0].type != pyarrow.fs.FileType.NotFound


def has_other_files(folder):
    path, files = for_pyarrow(folder)
    selector = pyarrow.fs.FileSelector(path, recursive=True, allow_not_found=True)
    return any(found.size and not found.path.endswith(".parquet") for found in files.get_file_info(selector))


def stages_files(folder):
    return not is_s3(folder) and os.path.isdir(os.path.join(folder, "_headwater", "staging"))


def duckdb_glob(folder):
    connection = duckdb.connect()
    # The zone in which timestamps come out; rows are compared in UTC.
    connection.execute("SET TimeZone = 'UTC'")
    if is_s3(folder):
        # DuckDB's own S3 client is an extension that has to be downloaded.
        connection.register_filesystem(S3Wrapper(s3_filesystem()))
    try:
        return connection.read_parquet(
            f"{folder}/**/*.parquet", hive_partitioning=True, union_by_name=True
        ).to_arrow_table()
    except duckdb.IOException as error:
        if "No files found" in str(error):
            return None
        raise


def polars_scan(path):
    options = None
    if is_s3(path):
        options = {
            "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_allow_http": "true",
            "aws_region": os.environ.get("AWS_REGION", "us-east-1"),
        }
    try:
        return polars.scan_parquet(path, hive_partitioning=True, storage_options=options).collect().to_arrow()
    except (polars.exceptions.PolarsError, OSError) as error:
        if "expanded paths were empty" in str(error):
            return None
        if "different file extensions" in str(error):
            raise NotOnlyParquet(str(error)) from error
        raise


def polars_glob(folder):
    return polars_scan(f"{folder}/**/*.parquet")


def polars_folder(folder):
    try:
        return polars_scan(f"{folder}/")
    except (polars.exceptions.PolarsError, OSError) as error:
        # In a bucket it does not look at the names first.
        if is_s3(folder) and has_other_files(folder):
            raise NotOnlyParquet(str(error)) from error
        # It does not say which file is gone. That no file of the output goes is what the reader by glob is for.
        if isinstance(error, FileNotFoundError) and stages_files(folder):
            raise NotOnlyParquet(str(error)) from error
        raise


def pyarrow_dataset(folder):
    path, files = for_pyarrow(folder)
    return pyarrow.dataset.dataset(path, filesystem=files, format="parquet", partitioning="hive").to_table()


def pyarrow_read_table(folder):
    """What pandas.read_parquet does underneath."""
    path, files = for_pyarrow(folder)
    return pyarrow.parquet.read_table(path, filesystem=files)


READERS = [duckdb_glob, polars_glob, polars_folder, pyarrow_dataset, pyarrow_read_table]


def plain(value):
    """A value as JSON can hold it, the same whichever reader it came from."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return value.isoformat(timespec="microseconds")
    if isinstance(value, decimal.Decimal):
        return str(value.normalize())
    if isinstance(value, dict):
        return {name: plain(field) for name, field in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def text(value):
    return json.dumps(plain(value), sort_keys=True, default=str)


def field(row, column):
    if column in row:
        return row[column]
    return functools.reduce(lambda value, name: value[name], column.split("."), row)


def summary(table, key):
    rows = [] if table is None else table.to_pylist()
    keys = {text([field(row, column) for column in key] if key else row) for row in rows}
    digest = hashlib.sha256("\n".join(sorted(text(row) for row in rows)).encode()).hexdigest()
    return {"rows": len(rows), "duplicates": len(rows) - len(keys), "digest": digest}


def read(folder, key):
    folder = folder.rstrip("/")
    answer = {}
    for reader in READERS:
        try:
            answer[reader.__name__] = summary(reader(folder), key)
        except NotOnlyParquet as error:
            answer[reader.__name__] = {"refused": str(error)}
        except (Exception, polars.exceptions.PanicException) as error:
            # Whatever a reader raises is the answer, not the end of the sweep.
            if isinstance(error, FileNotFoundError) and not exists(folder):
                answer[reader.__name__] = summary(None, key)
            else:
                answer[reader.__name__] = {"error": f"{type(error).__name__}: {error}"}
    return answer


def serve():
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(read(request["folder"], request.get("key", []))), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--key", type=lambda columns: columns.split(","), default=[])
    parser.add_argument("--serve", action="store_true", help="answer requests, one JSON object a line, until end of input")
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    if arguments.folder is None:
        parser.error("name a folder, or --serve")
    answer = read(arguments.folder, arguments.key)
    print(json.dumps(answer))
    return any("error" in seen for seen in answer.values())


if __name__ == "__main__":
    sys.exit(main())
