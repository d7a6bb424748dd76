"""Workers that behave badly, each in the way its name says, and one that behaves well. Only for tests."""

import json
import os
import subprocess
import sys
import threading
import time

HOW = sys.argv[1]
NAME = sys.argv[2] if len(sys.argv) > 2 else HOW
VERSION = sys.argv[3] if len(sys.argv) > 3 else "1.0.0"
LOCK = threading.Lock()


def say(**frame):
    with LOCK:
        sys.stdout.write(json.dumps(frame) + "\n")
        sys.stdout.flush()


def done(task, **more):
    say(type="outcome", id=task["id"], fence=task["fence"], outcome={"status": "done", **more})


def refuse(task):
    say(type="outcome", id=task["id"], fence=task["fence"],
        outcome={"status": "failed", "code": "refused", "message": "no such action"})


def hello(name=NAME, version=VERSION, protocol=1, slots=4):
    say(type="hello", protocol=protocol, worker=name, version=version, slots=slots)


def beats():
    while True:
        time.sleep(1)
        say(type="beat")


def go(task):
    action = task["action"]
    if HOW == "flood-logs":
        for n in range(40_000):
            say(type="log", id=task["id"], level="info", message=f"line {n} " + "x" * 200)
        done(task)
    elif HOW == "flood-noise":
        for _ in range(400):
            sys.stdout.write("noise " * 20_000 + "\n")
        done(task)
    elif HOW == "flood-signs":
        # Valid frames, each harmless: beats, progress, checkpoints, empty readings.
        more = {"id": task["id"]}
        for n in range(60_000):
            say(type="beat")
            say(type="progress", message=f"step {n}", checkpoint={"n": n}, **more)
            say(type="reading", readings=[], **more)
        done(task)
    elif HOW == "garbage":
        sys.stdout.write("Traceback: this is not JSON\n[1,2]\n{\"type\":\"dance\"}\n\x00\xff\n")
        done(task) if action == "go" else refuse(task)
    elif HOW == "long-line":
        sys.stdout.write("x" * (3 << 20) + "\n")
        done(task)
    elif HOW == "foreign":
        say(type="log", id="t-0000000000001", level="info", message="not mine")
        say(type="outcome", id="t-0000000000001", fence="1.1", outcome={"status": "done"})
        say(type="outcome", id=task["id"], fence="9.9", outcome={"status": "done"})
        done(task)
    elif HOW == "odd-outcome":
        say(type="outcome", id=task["id"], fence=task["fence"], outcome={"status": "splendid"})
    elif HOW == "exits":
        if action == "die":
            sys.stderr.write("out of cheese\n")
            sys.stderr.flush()
            os._exit(3)
        if action == "say-and-die":
            done(task, changed=True)
            os._exit(3)
        done(task)
    elif HOW == "forks":
        # Both outlive their parent: one in its group, with its own pipes closed.
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(["sleep", "600"], **quiet)
        done(task, result=child.pid)
        os._exit(0)
    elif HOW == "mute":
        if action == "mute":
            return
        time.sleep(0.05)
        done(task)
    elif HOW == "silent":
        pass
    elif HOW in ("deaf-to-drain", "slow-to-speak"):
        refuse(task)
    elif HOW == "twice":
        refuse(task)
        refuse(task)
    elif HOW == "dies-of-news":
        refuse(task)
    elif HOW == "leaks":
        secret = task["secrets"]["password"]
        say(type="log", id=task["id"], level="info", message="password is " + secret)
        say(type="log", id=task["id"], level="warn", message="\\u" + " ".join(secret.splitlines()))
        say(type="progress", id=task["id"], message="using " + secret, checkpoint={"p": [secret]})
        say(type="reading", id=task["id"], facts={"vendor": secret, secret: 1},
            readings=[{"name": "a", "value": 1, "labels": {"l": secret}}])
        # Escapes of another kind than those of the standard library.
        hidden = "".join("\\u%04x" % ord(c) for c in secret)
        with LOCK:
            sys.stdout.write('{"type":"outcome","id":"%s","fence":"%s","outcome":{"status":"failed",'
                             '"code":"refused","message":"%s","detail":{"%s":["%s"]}}}\n'
                             % (task["id"], task["fence"], hidden, hidden, hidden))
            sys.stdout.flush()
        if action == "leak-and-die":
            sys.stderr.write("crash with " + secret + "\n")
            sys.stderr.flush()
            os._exit(1)
    else:
        params = task["params"]
        if "note" in params:
            say(type="log", id=task["id"], level="info", message=params["note"])
        time.sleep(params.get("sleep_ms", 0) / 1000)
        done(task, result=VERSION)


if HOW == "liar-version":
    hello(version="9.9.9")
elif HOW == "liar-name":
    hello(name="somebody-else")
elif HOW == "liar-protocol":
    hello(protocol=7)
elif HOW == "no-hello":
    time.sleep(600)
elif HOW == "stillborn":
    sys.stderr.write("no licence for cheese\n")
    sys.exit(4)
else:
    hello()
if HOW not in ("silent", "no-hello", "slow-to-speak"):
    threading.Thread(target=beats, daemon=True).start()
for line in sys.stdin:
    frame = json.loads(line)
    if HOW == "dies-of-news" and frame["type"] not in ("task", "drain"):
        raise ValueError("news")
    if frame["type"] == "task":
        threading.Thread(target=go, args=(frame,), daemon=True).start()
    elif frame["type"] == "drain":
        if HOW == "deaf-to-drain":
            continue
        time.sleep(0.1)
        os._exit(0)
if HOW == "deaf-to-drain":
    time.sleep(600)
