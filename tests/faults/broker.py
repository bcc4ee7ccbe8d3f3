"""Kafka as the rounds see it: topics, what is in them, and the processes of the test services (tests/services)."""

import os
import shutil
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

    def access(self, action):
        from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType,
                                           ResourceType)
        what = (ResourceType.TOPIC, self.name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*")
        if action == "deny":
            # With an access list on it a topic is closed to all that it does not name.
            lists = [AclBinding(*what, AclOperation.WRITE, AclPermissionType.DENY), AclBinding(*what, AclOperation.ALL, AclPermissionType.ALLOW)]
            for done in self.admin.create_acls(lists).values():
                done.result(30)
        else:
            match = AclBindingFilter(*what[:3], None, None, AclOperation.ANY, AclPermissionType.ANY)
            for done in self.admin.delete_acls([match]).values():
                done.result(30)

    def deny_writing(self):
        self.access("deny")

    def allow_again(self):
        self.access("allow")

    def elect_preferred(self):
        """The first replica of each partition becomes its leader again: how many leaders are others now."""
        from confluent_kafka import ElectionType, TopicPartition
        before = self.leaders()
        partitions = [TopicPartition(self.name, number) for number in range(self.partitions)]
        self.admin.elect_leaders(ElectionType.PREFERRED, partitions).result(30)
        after = self.leaders()
        return sum(before[number] != after[number] for number in before)

    def in_sync(self):
        """The smallest number of replicas in sync of any partition."""
        found = self.admin.list_topics(self.name, timeout=20).topics[self.name].partitions
        return min(len(about.isrs) for about in found.values())

    def leaders(self):
        found = self.admin.list_topics(self.name, timeout=20).topics[self.name].partitions
        return {number: about.leader for number, about in found.items()}

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




class Cluster:
    """Three brokers of tests/services/kafka-cluster, started when a scenario first needs them."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "cluster")
        done = subprocess.run([os.path.join(SERVICES, "kafka-cluster"), "start", self.folder], check=True, capture_output=True, text=True)
        self.brokers, self.down = done.stdout.strip().split("=", 1)[1], set()

    def act(self, *words):
        subprocess.run([os.path.join(SERVICES, "kafka-cluster"), words[0], self.folder, *words[1:]], check=True, stdout=subprocess.DEVNULL)

    def kill(self, number):
        self.act("kill", str(number))
        self.down.add(number)

    def all_up(self):
        for number in sorted(self.down):
            self.act("up", str(number))
        self.down.clear()

    def close(self):
        self.act("stop")
        shutil.rmtree(self.folder, ignore_errors=True)
