"""Serves S3 (moto) on a free loopback port until standard input ends; see s3-server.

Prints the endpoint on one line once the bucket named by the first argument exists. That it ends with its standard
input means that it never outlives the test that started it, not even one that was killed.
"""

import logging
import sys

import boto3
from moto.server import ThreadedMotoServer


def main():
    # A line of log for each request would fill the pipe of a test that does not read it.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket=sys.argv[1])
    print(endpoint, flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
