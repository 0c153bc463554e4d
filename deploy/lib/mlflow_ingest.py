"""Points a second that an MLflow tracking server stores through its REST call for batches.

usage: mlflow_ingest.py URL CLIENTS SECONDS

Every client has a run and a connection of its own and sends, one after the other, requests of 1,000 points: ten
series over a hundred steps. All bodies are written down before the clock starts, so the client costs next to
nothing. The keys of the JSON that is printed are those of `motif bench ingest`.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

SERIES, STEPS = 10, 100
START_LIMIT = 120


class Tracking:
    """One connection to the server."""

    def __init__(self, url):
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)

    def post(self, call, body):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        path = "/api/2.0/mlflow/" + call
        self.connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{call}: {answer.status} {content[:200]!r}")
        return json.loads(content)


def wait_for(url):
    limit = time.monotonic() + START_LIMIT
    while True:
        try:
            tracking = Tracking(url)
            tracking.connection.request("GET", "/health")
            if tracking.connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > limit:
            raise SystemExit(f"{url} did not come up in {START_LIMIT} seconds")
        time.sleep(0.5)


def bodies(run, count):
    for first in range(0, count * STEPS, STEPS):
        points = [
            {"key": f"series/{k}", "value": 1 / (1 + step + k), "timestamp": step, "step": step}
            for step in range(first, first + STEPS)
            for k in range(SERIES)
        ]
        yield json.dumps({"run_id": run, "metrics": points}).encode()


def main():
    url, clients, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    wait_for(url)
    experiment = Tracking(url).post("experiments/create", {"name": f"bench {time.time_ns()}"})["experiment_id"]
    prepared = []
    for _ in range(clients):
        made = Tracking(url).post("runs/create", {"experiment_id": experiment, "start_time": 0})
        prepared.append(list(bodies(made["run"]["info"]["run_id"], int(seconds * 12) + 1)))
    # Connections that stood still while the bodies were written down would be closed by the server.
    connected = [(Tracking(url), requests) for requests in prepared]
    times, failures = [[] for _ in range(clients)], []
    begin = time.perf_counter()

    def send(tracking, requests, times):
        try:
            for body in requests:
                asked = time.perf_counter()
                if asked - begin > seconds:
                    return
                tracking.post("runs/log-batch", body)
                times.append(time.perf_counter() - asked)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=send, args=(*client, mine)) for client, mine in zip(connected, times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"a client failed: {failures[0]}")
    elapsed = time.perf_counter() - begin
    sorted_times = sorted(time for mine in times for time in mine)
    requests = len(sorted_times)
    print(
        json.dumps(
            {
                "server": "mlflow",
                "workers": clients,
                "series": SERIES,
                "points_per_request": SERIES * STEPS,
                "seconds": elapsed,
                "points": requests * SERIES * STEPS,
                "requests": requests,
                "points_per_s": requests * SERIES * STEPS / elapsed,
                "requests_per_s": requests / elapsed,
                "request_ms_p50": sorted_times[requests // 2] * 1000,
                "request_ms_p99": sorted_times[requests * 99 // 100] * 1000,
            }
        )
    )


main()
