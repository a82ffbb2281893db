"""Machines that send readings: repeats, late ones, out of order, with a new field from some time on. What they sent is the model."""

import json
import random

HOUR = 3600 * 1000
LATE_MAX = 20 * HOUR
METRICS = ("temperature", "pressure", "speed")


class Machines:
    def __init__(self, seed: int, now: int):
        self.chance = random.Random(seed)
        # Close to the end of an hour, so that hours change within a run; whole hours of lateness lie before.
        self.now = now
        self.sent: dict[str, dict] = {}
        self.bad: set[str] = set()
        self.repeats = self.late = 0
        self.has_firmware = False
        self.recent: list[str] = []

    def batch(self, count: int) -> bytes:
        """Readings as NDJSON, in no order."""
        lines = [self._reading() for _ in range(count)]
        self.chance.shuffle(lines)
        return "".join(line + "\n" for line in lines).encode()

    def _reading(self) -> str:
        if self.recent and self.chance.random() < 0.10:
            self.repeats += 1
            return self.chance.choice(self.recent)
        late = 0
        if self.chance.random() < 0.05:
            self.late += 1
            late = self.chance.randrange(LATE_MAX)
        reading = {
            "reading_id": f"r{len(self.sent) + len(self.bad):08}-{self.chance.getrandbits(32):08x}",
            "device": f"m{self.chance.randrange(44):02}",  # some are in no lookup
            "at": self.now - late - self.chance.randrange(60_000),
            "metric": self.chance.choice(METRICS),
            "reading": f"{self.chance.gauss(50, 12):.2f}",
        }
        if self.has_firmware:
            reading["firmware"] = f"f{self.chance.randrange(5)}"
        self.now += self.chance.randrange(400)
        if self.chance.random() < 0.001:
            reading["reading"] = "--"
            self.bad.add(reading["reading_id"])
        else:
            self.sent[reading["reading_id"]] = reading
        line = json.dumps(reading)
        self.recent.append(line)
        del self.recent[:-5000]
        return line
