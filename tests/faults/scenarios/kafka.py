"""The broker dies, pauses, restarts, loses topics and rights; three brokers of which some are down."""

import glob
import os
import time

from broker import Cluster, Topic
from scenarios import scenario

OVERSIZED = 1080  # max.message.bytes of a topic that cannot take every payload


def bring_back(r):
    """Whatever a scenario did to the shared broker, the next round has it whole."""
    broker = r.campaign.broker
    r.cleanup.callback(broker.start)
    r.cleanup.callback(broker.thaw)
    return broker


def note_outage(r, down):
    r.broker_faults.append((down, time.time()))


@scenario(ci=2)
def broker_killed(r):
    """kill -9 of the broker; the gateway takes messages meanwhile and delivers them when it is back."""
    broker = bring_back(r)
    r.go()
    down = time.time()
    broker.kill()
    r.progress("while the broker is dead", 600)
    r.pause(0.2, 0.8)
    broker.start()
    r.progress("after the broker is back")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=1)
def broker_killed_gateway_killed(r):
    """The broker dies, then the gateway is killed three seconds into the outage: what was handed over was not delivered."""
    broker = bring_back(r)
    r.go()
    down = time.time()
    broker.kill()
    r.progress("while the broker is dead", 600)
    r.pause(1.5, 2.0)
    r.kill()
    r.restart()
    broker.start()
    r.progress("after both are back")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=2)
def broker_paused(r):
    """SIGSTOP of the broker for a second or two."""
    broker = bring_back(r)
    r.go()
    down = time.time()
    broker.freeze()
    r.progress("while the broker stands still", 600)
    r.pause(0.8, 1.8)
    delivered = r.delivered()
    r.pause(0.2)
    r.require(r.delivered() == delivered, "nothing is delivered while the broker stands still")
    broker.thaw()
    r.progress("after the broker goes on")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=0)
def broker_restart(r):
    """A clean stop of the broker and a start, as an upgrade does it."""
    broker = bring_back(r)
    r.go()
    down = time.time()
    broker.stop()
    r.progress("while the broker is away", 300)
    broker.start()
    r.progress("after the broker is back")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=1)
def drain_broker_frozen(r):
    """SIGTERM while the broker stands still: exit 0 in time; what was under way is delivered by the next start."""
    broker = bring_back(r)
    r.prepare(DRAIN="1s")
    r.go()
    down = time.time()
    broker.freeze()
    r.progress("while the broker stands still", 600)
    r.require(r.metrics().sum("anygate_lane_pending", anygate_backend="bus"), "events that wait at the stop")
    began = time.monotonic()
    r.stop()
    if time.monotonic() - began > 1 + 15:
        r.faults.append(f"a drain of at most 1 s took {time.monotonic() - began:.1f} s")
    broker.thaw()
    r.start()
    r.progress("after the restart")
    r.caught_up()
    note_outage(r, down)


SPILLED = 20  # segments in the backlog before the broker may come back


def backlog(r):
    return len(glob.glob(os.path.join(r.data, "lanes", "*", "backlog", "*.seg")))


@scenario(ci=0)
def stuck_lane(r):
    """Kafka is dead and the ring has 8 MiB: the store's lane goes on, Kafka's events go to a backlog, all arrive later."""
    broker = bring_back(r)
    r.prepare(SEGMENT="2MiB", SEGMENTS="4")
    r.start()
    r.start_load({"http": (4, 200), "httpbatch": (4, 6000), "mqtt": (4, 500)})
    r.progress("before the fault", 600)
    down = time.time()
    broker.kill()
    r.wait(lambda: backlog(r) >= SPILLED // 2 or None, f"{SPILLED // 2} segments in the backlog", 60)
    healthy, acks = r.delivered("keep"), r.tally.acks()
    r.wait(lambda: backlog(r) >= SPILLED or None, f"{SPILLED} segments in the backlog", 60)
    r.require(r.delivered("keep") - healthy > (r.tally.acks() - acks) / 2, "the store keeps up while Kafka is dead")
    broker.start()
    r.progress("after the broker is back")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=1)
def topic_deleted(r):
    """The topic is deleted before anything is delivered and made again: the lane holds, alarms, and dead-letters nothing."""
    r.prepare()
    r.topic.delete()
    r.go()
    r.wait(r.trouble, "the gateway says that the topic is missing")
    r.progress("while the topic is missing", 300)
    if r.delivered() or r.metrics().sum("anygate_lane_dead_lettered_total", anygate_backend="bus"):
        r.faults.append("delivered or dead-lettered while the topic was missing")
    r.topic.create()
    r.progress("after the topic is there again")
    r.caught_up()


@scenario(ci=1)
def acl_taken(r):
    """The right to write is taken away and given back: the lane holds, alarms, and dead-letters nothing."""
    r.go()
    r.wait(lambda: r.delivered() > 100 or None, "deliveries before the right is taken")
    with r.cause("right taken"):
        r.topic.deny_writing()
        r.wait(r.trouble, "the gateway says that it has no right")
        r.progress("without the right", 300)
        if r.metrics().sum("anygate_lane_dead_lettered_total", anygate_backend="bus"):
            r.faults.append("dead-lettered because a right was missing")
        r.topic.allow_again()
        r.progress("with the right again")
        r.caught_up()


@scenario(ci=1)
def oversized_record(r):
    """The topic takes small records only: large ones become dead letters of that backend, small ones arrive, none of them twice."""
    r.prepare(topic=Topic(r.campaign.kafka, f"faults-{r.run}", r.cleanup, max_message_bytes=str(OVERSIZED)))
    r.start()
    r.start_load()
    r.progress("before the end", 400)
    # A probe may be one of the large ones.
    r.required_sinks = lambda producer: ("store",) if producer.endswith("probe") else r.sinks
    r.caught_up()
    letters = r.metrics().sum("anygate_lane_dead_lettered_total", anygate_backend="bus")
    r.require(letters, "dead letters")


def on_three(r):
    """The gateway on a topic of three replicas that needs two; loaded."""
    cluster = r.campaign.shared.get("cluster")
    if cluster is None:
        cluster = r.campaign.shared["cluster"] = Cluster(r.campaign.folder)
    r.cleanup.callback(cluster.all_up)
    # Broker 1 is never taken down; the gateway learns of the others from it.
    r.prepare(kafka=cluster.brokers.split(",")[0], topic=Topic(cluster.brokers, f"faults-{r.run}", r.cleanup, replicas=3))
    r.go()
    r.wait(lambda: r.delivered() > 100 or None, "deliveries before the fault")
    return cluster


@scenario(ci=1)
def one_of_three_down(r):
    """One of three brokers is killed, two in-sync replicas are enough: leaders move, deliveries go on, the broker comes back."""
    cluster = on_three(r)
    down = time.time()
    cluster.kill(r.random.choice((2, 3)))
    before = r.delivered()
    r.progress("with one broker down", 300)
    r.wait(lambda: r.delivered() > before + 300 or None, "deliveries with one broker down")
    cluster.all_up()
    r.progress("with all brokers")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=1)
def not_enough_replicas(r):
    """Two of three brokers are killed: Kafka refuses (NOT_ENOUGH_REPLICAS), nothing is written off, all arrives later."""
    cluster = on_three(r)
    down = time.time()
    cluster.kill(2)
    cluster.kill(3)
    r.progress("with two brokers down", 600)
    r.wait(r.trouble, "the gateway says that Kafka does not take records", 40)
    r.pause(0.5, 1.0)
    cluster.all_up()
    r.progress("with all brokers")
    r.caught_up()
    note_outage(r, down)


@scenario(ci=1)
def leader_moves(r):
    """The leaders of partitions move to other brokers and back (a broker goes, comes, and is preferred again), twice."""
    cluster = on_three(r)
    down, moved = time.time(), 0
    for number in (2, 3):
        before = r.topic.leaders()
        cluster.kill(number)
        r.wait(lambda: number not in r.topic.leaders().values() or None, "new leaders")
        moved += sum(leader == number for leader in before.values())
        cluster.all_up()
        r.wait(lambda: r.topic.in_sync() == 3 or None, "all replicas in sync")
        moved += r.topic.elect_preferred()
        r.progress("after the leaders moved", 100)
    r.require(moved >= 4, f"leaders that moved ({moved})")
    r.caught_up()
    note_outage(r, down)
