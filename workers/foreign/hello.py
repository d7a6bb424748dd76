#!/usr/bin/env python3
"""A whole worker with nothing but the standard library: JSON lines on stdin and stdout."""
import json, sys, threading

def say(**frame):  # one write per line, so that those of two threads do not mix
    sys.stdout.write(json.dumps(frame) + "\n")
    sys.stdout.flush()

def beat():
    say(type="beat")
    timer = threading.Timer(5, beat)
    timer.daemon = True
    timer.start()

def run(task):
    if task["action"] == "observe":
        readings = [{"name": "hello_up", "value": 1, "unit": "1"}]
        say(type="reading", id=task["id"], readings=readings, facts={"vendor": "python"})
        return {"status": "done"}
    if task["action"] == "greet":
        return {"status": "done", "changed": True, "result": f"hello, {task['params'].get('name', 'you')}"}
    return {"status": "failed", "code": "refused", "message": f"unknown action {task['action']}"}

say(type="hello", protocol=1, worker="hello-python", version="1.0.0", slots=1)
beat()
for line in sys.stdin:
    frame = json.loads(line)
    if frame["type"] == "task":
        say(type="outcome", id=frame["id"], fence=frame["fence"], outcome=run(frame))
    elif frame["type"] == "drain":
        break
