#!/usr/bin/env python3
"""Writes readings of some machines as NDJSON: a tenth sent twice, some late, some out of order, a few that are no numbers.

    python3 machines.py [COUNT] [SEED] | weir send raw -
"""

import json
import random
import sys
import time

count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
now = int(time.time() * 1000)
sent = []
for n in range(count):
    if sent and chance.random() < 0.10:
        print(chance.choice(sent[-1000:]))  # a repeat: the machine did not hear that it was taken
        continue
    late = chance.uniform(0, 20 * 3600) if chance.random() < 0.05 else chance.uniform(0, 600)
    reading = {
        "reading_id": f"{n:08}-{chance.getrandbits(32):08x}",
        "device": f"m{chance.randrange(40):02}",
        "at": now - int(late * 1000),
        "metric": chance.choice(["temperature", "pressure", "speed"]),
        "reading": "--" if chance.random() < 0.001 else f"{chance.gauss(50, 12):.2f}",
    }
    sent.append(json.dumps(reading))
    print(sent[-1])
