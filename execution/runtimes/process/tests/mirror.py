"""The mirror of the runtimes' suite: does what each line on stdin says."""

import os
import subprocess
import sys

print('{"type":"hello","protocol":1,"worker":"mirror","version":"1.0.0","slots":1}', flush=True)
deaf = False
for line in sys.stdin:
    line = line.rstrip("\n")
    word, _, rest = line.partition(" ")
    if word == "exit":
        sys.stdout.flush()
        os._exit(int(rest))
    elif word == "err":
        print(rest, file=sys.stderr, flush=True)
    elif line == "deaf":
        deaf = True
    elif line == "child":
        subprocess.Popen(["sh", "-c", "trap '' HUP INT TERM; while :; do sleep 1; done"])
        print("child", flush=True)
    elif line == "folder":
        print(os.environ["SENGU_WORKER_FOLDER"], flush=True)
    else:
        print(line, flush=True)
while deaf:
    import time
    time.sleep(60)
