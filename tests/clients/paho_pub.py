"""paho-mqtt publishes messages and says what the broker answered to each.

    paho_pub.py HOST PORT TOPIC PAYLOAD… [--v 4|5] [--qos 0|1|2] [--client-id ID] [--user NAME --password SECRET]
                [--prop NAME=VALUE]… [--content-type TYPE] [--expiry SECONDS] [--retain] [--timeout SECONDS]
                [--will-topic T --will-payload P] [--drop] [--subscribe FILTER]

A PAYLOAD that begins with base64: is decoded first. --drop ends with the socket closed and no DISCONNECT, so that a will
is due. --subscribe only subscribes and prints the reason codes. Prints one JSON line: {"connect": CODE|null,
"session_present", "connack_properties", "results": [{"mid","acked","reason","name"}], "suback", "disconnect", "error"}.
CODE is the MQTT number: 0 is success. `acked` is false when no answer came within the time. MQTT 3.1.1 has no reason
codes in its answers: `reason` is 0 for each message that was answered.
"""

import argparse
import base64
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from common import say


class Session:
    """Collects what paho reports through its callbacks."""

    def __init__(self):
        self.answer = {"connect": None, "session_present": None, "connack_properties": {}, "results": [],
                       "suback": None, "disconnect": None, "error": None}
        self.acked = {}

    def on_connect(self, _client, _data, flags, reason, properties):
        self.answer["connect"], self.answer["session_present"] = reason.value, flags.session_present
        self.answer["connack_properties"] = properties.json() if properties else {}

    def on_publish(self, _client, _data, mid, reason, _properties):
        self.acked[mid] = reason

    def on_subscribe(self, _client, _data, _mid, reasons, _properties):
        self.answer["suback"] = [reason.value for reason in reasons]

    def on_disconnect(self, _client, _data, _flags, reason, _properties):
        self.answer["disconnect"] = {"reason": reason.value, "name": str(reason)}


def wait_for(client, done, seconds):
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until and client.loop(timeout=0.05) == mqtt.MQTT_ERR_SUCCESS:
        pass
    return done()


def properties_of(given):
    if given.v != 5:
        return None
    properties = Properties(PacketTypes.PUBLISH)
    if given.prop:
        properties.UserProperty = [tuple(pair.split("=", 1)) for pair in given.prop]
    if given.content_type:
        properties.ContentType = given.content_type
    if given.expiry is not None:
        properties.MessageExpiryInterval = given.expiry
    return properties


def payload_of(text):
    return base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode()


def publish(client, session, given):
    sent = []
    for payload in given.payload:
        sent.append(client.publish(given.topic, payload_of(payload), given.qos, given.retain, properties_of(given)).mid)
    wait_for(client, lambda: all(mid in session.acked for mid in sent), given.timeout)
    for mid in sent:
        reason = session.acked.get(mid)
        session.answer["results"].append({"mid": mid, "acked": reason is not None,
                                          "reason": None if reason is None else reason.value,
                                          "name": None if reason is None else str(reason)})


def run(given):
    session = Session()
    protocol = mqtt.MQTTv5 if given.v == 5 else mqtt.MQTTv311
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=given.client_id, protocol=protocol)
    for name in ("on_connect", "on_publish", "on_subscribe", "on_disconnect"):
        setattr(client, name, getattr(session, name))
    if given.user is not None:
        client.username_pw_set(given.user, given.password)
    if given.will_topic is not None:
        client.will_set(given.will_topic, given.will_payload, 1)
    try:
        client.connect(given.host, given.port, keepalive=30)
        if wait_for(client, lambda: session.answer["connect"] is not None, given.timeout):
            if given.subscribe is not None:
                client.subscribe(given.subscribe, 1)
                wait_for(client, lambda: session.answer["suback"] is not None, given.timeout)
            elif session.answer["connect"] == 0:
                publish(client, session, given)
        if given.drop:
            client.socket().close()
        else:
            client.disconnect()
            wait_for(client, lambda: session.answer["disconnect"] is not None, 1)
    except (OSError, ValueError) as error:
        session.answer["error"] = f"{type(error).__name__}: {error}"
    return session.answer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("topic")
    parser.add_argument("payload", nargs="*")
    parser.add_argument("--v", type=int, choices=(4, 5), default=5)
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--client-id", default="paho-test")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--prop", action="append", default=[])
    parser.add_argument("--content-type")
    parser.add_argument("--expiry", type=int)
    parser.add_argument("--retain", action="store_true")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--will-topic")
    parser.add_argument("--will-payload", default="")
    parser.add_argument("--drop", action="store_true")
    parser.add_argument("--subscribe")
    say(run(parser.parse_args()))


if __name__ == "__main__":
    main()
