// Parses Kafka records with the JavaScript CloudEvents SDK's Kafka binding.
//
//   ce_kafka_read.py BROKERS TOPIC --raw | ce_kafka_read.mjs
//
// Reads the lines that ce_kafka_read.py prints with --raw, and prints one JSON line per record:
// {"partition","offset","event"} or "error" in place of "event".
import readline from "node:readline";
import { load, say } from "./load.mjs";

const { Kafka } = load("cloudevents");

for await (const line of readline.createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { partition, offset, key, headers, value } = JSON.parse(line);
  try {
    const parsed = Kafka.toEvent({ key, headers, value, body: value });
    const events = (Array.isArray(parsed) ? parsed : [parsed]).map((event) => event.toJSON());
    say({ partition, offset, event: events.length === 1 ? events[0] : events });
  } catch (error) {
    say({ partition, offset, error: String(error) });
  }
}
