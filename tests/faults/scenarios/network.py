"""The network between the gateway and Kafka: cut, slow, half closed, silent. Everything goes through proxy.py."""

import os

from proxy import Proxy
from scenarios import scenario


def through_proxy(r):
    """The gateway with a proxy before its broker, loaded."""
    proxy = Proxy(os.environ["ANYGATE_TEST_KAFKA_PROXIED"], os.environ["ANYGATE_TEST_KAFKA_BEHIND"])
    r.cleanup.callback(proxy.close)
    r.prepare(kafka=os.environ["ANYGATE_TEST_KAFKA_PROXIED"])
    r.go()
    r.wait(lambda: r.metrics().sum("anygate_lane_delivered_total", anygate_backend="bus") > 100 or None, "deliveries through the proxy")
    return proxy


@scenario(ci=2)
def network_cut(r):
    """Every connection to Kafka is reset and new ones are refused, for a second or two."""
    proxy = through_proxy(r)
    with r.cause("cut"):
        proxy.cut()
        r.progress("while the network is cut", 300)
        r.wait(lambda: proxy.refused or None, "a refused connection")
        r.pause(0.3, 1.2)
        proxy.heal()
        r.progress("after the cut")
        r.caught_up()
    r.require(proxy.cut_connections, "a connection that was cut")


@scenario(ci=1)
def network_resets(r):
    """Every connection to Kafka is reset five times in a row, at random moments."""
    proxy = through_proxy(r)
    with r.cause("resets"):
        for _ in range(5):
            proxy.reset()
            r.pause(0.05, 0.4)
        r.progress("after the resets")
        r.caught_up()
    r.require(proxy.cut_connections >= 3, "connections that were reset")


@scenario(ci=2)
def network_delay(r):
    """Everything to and from Kafka comes 150 to 400 ms late."""
    proxy = through_proxy(r)
    with r.cause("delay"):
        proxy.delay = r.random.uniform(0.15, 0.4)
        r.progress("while the network is slow", 600)
        r.wait(lambda: proxy.delayed > 5 or None, "delayed bytes")
        proxy.heal()
        r.progress("after the delay")


@scenario(ci=1)
def network_half_close(r):
    """Kafka's side of each connection is closed, the gateway's side stays open."""
    proxy = through_proxy(r)
    with r.cause("half close"):
        proxy.half_close()
        r.progress("after the half close", 300)
        r.caught_up()
    r.require(proxy.cut_connections, "a connection that was half closed")


@scenario(ci=1)
def answers_lost(r):
    """Kafka takes the records, and its answers are lost on the way back; then the connections are reset."""
    proxy = through_proxy(r)
    with r.cause("answers lost"):
        proxy.swallow_down = True
        r.progress("while answers are lost", 300)
        r.wait(lambda: proxy.swallowed or None, "a swallowed answer")
        r.pause(0.3, 1.0)
        proxy.heal()
        r.progress("after the answers were lost")
        r.caught_up()


@scenario(ci=1)
def black_hole(r):
    """Bytes to and from Kafka vanish without an error; then the connections are reset."""
    proxy = through_proxy(r)
    with r.cause("black hole"):
        proxy.swallow_up = proxy.swallow_down = True
        r.progress("while the network swallows", 300)
        r.wait(lambda: proxy.swallowed or None, "swallowed bytes")
        r.pause(0.3, 1.0)
        proxy.heal()
        r.progress("after the black hole")
        r.caught_up()
