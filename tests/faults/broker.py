"""Kafka as the rounds see it: topics, what is in them, and the processes of the test services (tests/services)."""

import os
import signal
import subprocess

import collect

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICES = os.path.join(HERE, "..", "services")
PARTITIONS = 6


class Topic:
    """A topic that one round made for itself. Records carry the broker's time, to be compared with the times of faults."""

    def __init__(self, brokers, name, cleanup, partitions=PARTITIONS, replicas=1, **settings):
        from confluent_kafka.admin import AdminClient, NewTopic
        self.brokers, self.name, self.partitions = brokers, name, partitions
        self.admin = AdminClient({"bootstrap.servers": brokers, "log_level": 2})
        self.new = NewTopic(name, partitions, replicas, config={
            "message.timestamp.type": "LogAppendTime", **{key.replace("_", "."): value for key, value in settings.items()}})
        self.create()
        cleanup.callback(self.forget)

    def create(self):
        self.admin.create_topics([self.new], operation_timeout=20)[self.name].result(30)

    def delete(self):
        self.admin.delete_topics([self.name], operation_timeout=20)[self.name].result(30)

    def forget(self):
        """The end of the round: deleted without waiting for it."""
        self.admin.delete_topics([self.name], operation_timeout=5)

    def reader(self):
        return collect.Kafka(self.brokers, self.name, self.partitions)


class Single:
    """The one broker of tests/services/with-services."""

    def __init__(self):
        self.folder, self.brokers = os.environ["ANYGATE_TEST_KAFKA_DIR"], os.environ["ANYGATE_TEST_KAFKA"]

    def pid(self):
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as file:
            return int(file.read())

    def kill(self):
        subprocess.run([os.path.join(SERVICES, "kafka"), "kill", self.folder], check=True, stdout=subprocess.DEVNULL)

    def start(self):
        subprocess.run([os.path.join(SERVICES, "kafka"), "start", self.folder], check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        subprocess.run([os.path.join(SERVICES, "kafka"), "stop", self.folder], check=True, stdout=subprocess.DEVNULL)

    def freeze(self):
        os.kill(self.pid(), signal.SIGSTOP)

    def thaw(self):
        os.kill(self.pid(), signal.SIGCONT)


