"""What the HTTP and MQTT producers share: streams that reconnect, a pace, and the end of the load.

One process drives many streams on one event loop. A stream is one connection at a time and one ledger; its messages are
numbered from 0 and sent in order. The pace is an open loop: what was due while the gateway was down is sent afterwards.
While `surge` is set the pace is off, so that a kill meets full windows.
"""

import asyncio
import os
import time

import ledger

TICK = 0.005
ANSWER_LIMIT = 20.0   # seconds without an answer before a stream gives its connection up
FINISH_LIMIT = 40.0   # seconds that streams have for their open messages when the load ends


class Pace:
    """Tokens for all streams of a process: `rate` per second since the start, kept while they cannot be used."""

    def __init__(self, rate, surge):
        self.rate, self.surge, self.began, self.sent = rate, surge, time.monotonic(), 0

    def take(self):
        if self.surge.value:
            return True
        if self.sent < self.rate * (time.monotonic() - self.began):
            self.sent += 1
            return True
        return False


class Stream(asyncio.Protocol):
    """One producer: connects again and again with a short backoff until it is told to finish."""

    def __init__(self, settings, name, pace):
        self.settings, self.name, self.pace = settings, name, pace
        self.run = settings["run"]
        self.ledger = ledger.Writer(os.path.join(settings["ledgers"], f"{name}.ledger"))
        self.transport, self.buffer = None, b""
        self.next, self.epoch, self.last_seen = 0, 0, 0.0
        self.left = settings.get("count")      # None: until told to finish
        self.finishing = False

    # for the protocols
    def idle(self):
        """Nothing is unanswered."""
        raise NotImplementedError

    def opened(self):
        """The connection stands."""

    def lost(self, why):
        """The connection is gone: open messages become UNKNOWN."""

    def pump(self):
        """Sends what may be sent now."""

    def received(self):
        """Reads `buffer`."""

    def may_start_another(self):
        if self.finishing or self.left == 0 or not self.pace.take():
            return False
        if self.left is not None:
            self.left -= 1
        return True

    # asyncio.Protocol
    def connection_made(self, transport):
        self.transport, self.buffer, self.epoch, self.last_seen = transport, b"", self.epoch + 1, time.monotonic()
        self.opened()
        self.pump()

    def data_received(self, data):
        self.buffer, self.last_seen = self.buffer + data, time.monotonic()
        self.received()
        self.ledger.flush()
        self.pump()

    def connection_lost(self, error):
        self.transport = None
        self.lost(type(error).__name__ if error else "closed")
        self.ledger.flush()

    def tick(self):
        if self.transport is None:
            return
        if self.idle():
            self.last_seen = time.monotonic()
        elif time.monotonic() - self.last_seen > ANSWER_LIMIT:
            self.transport.abort()
            return
        self.pump()

    async def live(self):
        """Keeps a connection open until all is answered after `finishing`."""
        pause, loop, port = 0.02, asyncio.get_running_loop(), self.settings["port"]
        while not (self.done() and self.transport is None):
            if self.transport is None:
                try:
                    await loop.create_connection(lambda: self, "127.0.0.1", port)
                    pause = 0.02
                except OSError:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, 0.2)
            elif self.done():
                self.transport.close()
                await asyncio.sleep(0.02)
            else:
                await asyncio.sleep(0.05)

    def done(self):
        return (self.finishing or self.left == 0) and self.idle()


async def drive(streams, stop):
    """Runs the streams until `stop` is set and all is answered, at most FINISH_LIMIT longer."""
    tasks = [asyncio.ensure_future(stream.live()) for stream in streams]
    finish_by = None
    while not all(task.done() for task in tasks):
        for stream in streams:
            stream.tick()
        if stop.value and finish_by is None:
            finish_by = time.monotonic() + FINISH_LIMIT
            for stream in streams:
                stream.finishing = True
        if finish_by is not None and time.monotonic() > finish_by:
            break
        await asyncio.sleep(TICK)
    for task in tasks:
        task.cancel()
    for stream in streams:
        if stream.transport is not None:
            stream.transport.abort()
    await asyncio.sleep(0)
    failed = [task.exception() for task in tasks if task.done() and not task.cancelled() and task.exception()]
    if failed:
        raise failed[0]


def main(kind, settings, names, port, stop, surge):
    """The body of a producer process."""
    pace = Pace(settings["rate"], surge)
    settings = {**settings, "port": port}
    asyncio.run(drive([kind(settings, name, pace) for name in names], stop))
