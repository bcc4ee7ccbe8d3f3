"""A TCP proxy that does what networks do: it delays, cuts, half-closes and swallows. One thread, one event loop.

It listens where the broker says that it is (ANYGATE_TEST_KAFKA_PROXIED) and forwards to where the broker really is
(ANYGATE_TEST_KAFKA_BEHIND), so that clients that follow the broker's metadata stay behind the proxy.
"""

import asyncio
import contextlib
import threading


class Proxy:
    """Forwards until told otherwise. `state` is read for every piece that passes; changing it needs no lock."""

    def __init__(self, listen, target):
        self.listen, self.target = address(listen), address(target)
        self.delay, self.swallow_up, self.swallow_down, self.refuse = 0.0, False, False, False
        self.connections, self.cut_connections, self.swallowed, self.delayed, self.refused = 0, 0, 0, 0, 0
        self.pairs, self.loop, self.ready = set(), asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self.main, daemon=True)
        self.thread.start()
        if not self.ready.wait(10):
            raise RuntimeError(f"the proxy cannot listen on {listen}")

    def main(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self.accept, *self.listen))
        self.ready.set()
        self.loop.run_forever()

    async def accept(self, reader, writer):
        if self.refuse:
            self.refused += 1
            writer.transport.abort()
            return
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self.pairs.add(pair)
        try:
            await asyncio.gather(self.pump(reader, far_writer, "swallow_up"), self.pump(far_reader, writer, "swallow_down"))
        finally:
            self.pairs.discard(pair)
            for end in pair:
                end.transport.abort()

    async def pump(self, reader, writer, swallow):
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: written to an end that is half closed
            while data := await reader.read(65536):
                if self.delay:
                    self.delayed += 1
                    await asyncio.sleep(self.delay)
                if getattr(self, swallow):
                    self.swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    # what scenarios do, from their own thread
    def call(self, act):
        done = threading.Event()

        def run():
            try:
                act()
            finally:
                done.set()
        self.loop.call_soon_threadsafe(run)
        done.wait(10)

    def cut(self):
        """Resets every connection; new ones are refused until `heal`."""
        self.refuse = True
        self.reset()

    def reset(self):
        def act():
            for pair in list(self.pairs):
                self.cut_connections += 1
                for end in pair:
                    end.transport.abort()
        self.call(act)

    def half_close(self):
        """The broker seems to have said its last word; what the gateway sends still arrives."""
        def act():
            for near, _ in list(self.pairs):
                self.cut_connections += 1
                with contextlib.suppress(OSError):
                    near.write_eof()
        self.call(act)

    def heal(self):
        """Forwards again. Connections that lost bytes cannot go on: they are reset."""
        lossy = self.swallowed
        self.delay, self.swallow_up, self.swallow_down, self.refuse = 0.0, False, False, False
        if lossy:
            self.reset()

    def close(self):
        self.reset()
        self.call(self.server.close)
        self.call(lambda: [task.cancel() for task in asyncio.all_tasks(self.loop)])
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)
