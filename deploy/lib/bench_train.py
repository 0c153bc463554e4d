"""Runs the engines, the products' floor and, where there is one, the peer in turns; medians and spread as a table.

Everything is run alternately, round after round, so that what else the machine does falls on all alike. The table
goes to the standard error, one JSON object to the standard output.
"""

import argparse
import json
import statistics
import subprocess
import sys


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def run(command):
    """The JSON object that a command prints."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def peak_memory_mb(command):
    """Peak memory of a command's processes, in MB."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(subprocess.check_output([sys.executable, "-c", code, *command], text=True)) / 1024


def contestants(options, hidden):
    """Name, command and key of everything that is timed for a size."""
    bench = [options.worker, "bench"]
    common = ["--hidden", str(hidden), "--json"]
    found = [("products, floor", [*bench, "products", "--n", "5", *common], "floor_ms")]
    found.append(("products, as calls", found[0][1], "calls_ms"))
    for engine, threads, count in (("reference", 1, 2), ("fused", 1, 10), ("fused", 2, 10)):
        arguments = ["--engine", engine, "--threads", str(threads), "--n", str(count)]
        found.append((f"{engine}, {threads} thread{'s' * (threads > 1)}", [*bench, "train", *arguments, *common], "total_ms"))
    if options.peer:
        for threads in (1, 2):
            command = [options.peer, options.peer_script, "--hidden", str(hidden), "--threads", str(threads), "--n", "2"]
            found.append((f"peer, {threads} thread{'s' * (threads > 1)}", command, "total_ms"))
    return found


def measure(rounds, found):
    """Values of every contestant, by name; commands that serve two names run once a round."""
    values = {name: [] for name, _, _ in found}
    for _ in range(rounds):
        answers = {}
        for name, command, key in found:
            answer = answers.get(tuple(command)) or answers.setdefault(tuple(command), run(command))
            values[name].append(answer[key])
    return values


def against(values, hidden):
    """Ratios to the peer and to the floor, from medians."""
    median = {name: statistics.median(found) for name, found in values.items()}
    ratios = {"share of the floor": median["products, floor"] / median["fused, 1 thread"]}
    for threads in ("1 thread", "2 threads"):
        if f"peer, {threads}" in median:
            ratios[f"times the peer, {threads}"] = median[f"peer, {threads}"] / median[f"fused, {threads}"]
    return {"hidden": hidden, **ratios}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--worker", required=True)
    arguments.add_argument("--peer", help="a Python with torch and motornet")
    arguments.add_argument("--peer-script", default=__file__.replace("bench_train", "peer_train"))
    arguments.add_argument("--hidden", default="128,256,512")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    report = {"rounds": options.rounds, "training": [], "ratios": []}
    say("Milliseconds a training batch of 32 trials of 200 steps; median, least and most of the rounds' medians\n")
    for hidden in map(int, options.hidden.split(",")):
        values = measure(options.rounds, contestants(options, hidden))
        say(f"{hidden} units")
        for name, found in values.items():
            say(f"  {name:22} {statistics.median(found):9.1f} {min(found):9.1f} {max(found):9.1f}")
            report["training"].append({"hidden": hidden, "what": name, "ms": found})
        ratios = against(values, hidden)
        report["ratios"].append(ratios)
        for name, ratio in list(ratios.items())[1:]:
            say(f"  {name:22} {ratio:9.2f}")
        say()

    ours = [options.worker, "bench", "evaluate", "--n", "2", "--json"]
    found = [("evaluation, fused", ours, "total_ms")]
    if options.peer:
        theirs = [options.peer, options.peer_script, "--no-grad", "--n", "2"]
        found.append(("roll-out of 200 steps, peer", theirs, "total_ms"))
    values = measure(options.rounds, found)
    report["evaluation"] = {name: times for name, times in values.items()}
    say("A whole evaluation (100 conditions of 32 trials), 256 units, 1 thread, ms")
    say(f"  {'fused':22} {statistics.median(values['evaluation, fused']):9.1f}")
    if options.peer:
        steps = run(ours)["trial_steps"] / 32
        peer = statistics.median(values["roll-out of 200 steps, peer"]) * steps / 200
        report["evaluation"]["peer, from its roll-out of 200 steps"] = peer
        say(f"  {'peer, by its steps':22} {peer:9.1f}")
        say(f"  {'times the peer':22} {peer / statistics.median(values['evaluation, fused']):9.2f}")

    bench = [options.worker, "bench", "train", "--n", "3", "--steps"]
    small = peak_memory_mb([*bench, "102", "--hidden", "1", "--batch", "1"])
    large = peak_memory_mb([*bench, "400"])
    report["memory_mb"] = {"least": small, "256 units, 400 steps": large}
    say(f"\nPeak memory: {large:.0f} MB for 256 units and 400 steps, {large - small:.0f} MB above the least network's")
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
