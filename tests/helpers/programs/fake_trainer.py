"""Stands in for `leansight train`: learns nothing, but keeps a checkpoint of each epoch, goes on
from it, and ends with a score that comes out only if no epoch is lost or made twice.

A learning rate of 9 diverges; 0.1 with the narrow model is best by far.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("data")
for name in ("--recipe", "--out", "--test-on"):
    parser.add_argument(name)
for name in ("--set", "--weights"):
    parser.add_argument(name, action="append")
for name in ("--resume", "--no-test", "--everything", "--skip-bad"):
    parser.add_argument(name, action="store_true")
given = parser.parse_args()
assert given.resume
values = dict(text.split("=", 1) for text in given.set)
if values["training.learning_rate"] == "9":
    sys.exit("epoch 0\nleansight: the loss is not a finite number")
out = pathlib.Path(given.out)
out.mkdir(exist_ok=True)
with (out / "starts.txt").open("a") as file:
    file.write(f"{os.getpid()}\n")
checkpoint = out / "checkpoint.json"
done, state = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, "")
for epoch in range(done, int(values.get("training.epochs", 1))):
    time.sleep(float(os.environ.get("EPOCH_SECONDS", "0.01")))
    state = hashlib.sha256(f"{state} {epoch} {sorted(given.set)}".encode()).hexdigest()
    part = out / "checkpoint.part"
    part.write_text(json.dumps([epoch + 1, state]))
    part.rename(checkpoint)
best = values["training.learning_rate"] == "0.1" and values.get("model.width", "4") == "4"
metrics = {"validation accuracy": 0.5 * best + 0.1 * int(state[:8], 16) / 2**32}
if not given.no_test:
    metrics["test accuracy"] = 0.75
part = out / "run.part"
part.write_text(
    json.dumps(
        {"metrics": metrics, "arguments": sys.argv[1:], "threads": os.environ["OMP_NUM_THREADS"]}
    )
)
part.rename(out / "run.json")
