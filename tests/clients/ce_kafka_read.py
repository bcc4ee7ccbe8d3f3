"""Reads a Kafka topic with confluent-kafka and parses each record with the Python CloudEvents SDK's Kafka binding.

    ce_kafka_read.py BROKERS TOPIC [--count N] [--timeout SECONDS] [--raw]

Prints one JSON line per record, partition by partition: {"partition","offset","key","headers","event"}, or "error" in
place of "event" when the SDK refuses the record. --raw adds "value". Without --count it reads to the end of the topic
as it is now; with it, until N records came or the time is up (exit 1).
"""

import argparse
import sys
import time

from cloudevents.core.bindings import kafka
from confluent_kafka import Consumer, KafkaError, TopicPartition

from common import as_text, event_as_json, say


def records(brokers, topic, count, timeout):
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "reader", "enable.auto.commit": False,
                         "enable.partition.eof": True, "auto.offset.reset": "earliest", "log_level": 2})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    if not partitions:
        sys.exit(f"ce_kafka_read: there is no topic {topic}")
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    ended, seen, until = set(), 0, time.monotonic() + timeout
    while time.monotonic() < until and (seen < count if count else len(ended) < len(partitions)):
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
                continue
            sys.exit(f"ce_kafka_read: {message.error()}")
        seen += 1
        yield message
    consumer.close()
    if seen < count:
        sys.exit(f"ce_kafka_read: {seen} of {count} records within {timeout} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=20.0)
    parser.add_argument("--raw", action="store_true")
    given = parser.parse_args()
    for record in records(given.brokers, given.topic, given.count, given.timeout):
        headers = dict(record.headers() or [])
        line = {"partition": record.partition(), "offset": record.offset(),
                "key": None if record.key() is None else as_text(record.key()),
                "headers": {name: as_text(value or b"") for name, value in headers.items()}}
        try:
            message = kafka.KafkaMessage(headers=headers, key=record.key(), value=record.value() or b"")
            line["event"] = event_as_json(kafka.from_kafka_event(message))
        except Exception as error:  # whatever the SDK says about the record is the answer
            line["error"] = f"{type(error).__name__}: {error}"
        if given.raw:
            line["value"] = as_text(record.value() or b"")
        say(line)


if __name__ == "__main__":
    main()
