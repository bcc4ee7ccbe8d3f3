// mqtt.js publishes messages and says what the broker answered to each.
//
//   mqttjs_pub.mjs HOST PORT TOPIC PAYLOAD… [--v 4|5] [--qos 0|1|2] [--client-id ID] [--prop NAME=VALUE]… [--content-type T]
//                  [--timeout MILLISECONDS]
//
// Prints one JSON line: {"connect": {"reason","session_present","properties"}|null, "results": [{"acked","reason","error"}],
// "error"}. `reason` is the MQTT number (3.1.1 has none: 0). An answer with a reason ≥ 0x80 is an error of mqtt.js.
import { load, options, say } from "./load.mjs";

const mqtt = load("mqtt");
const given = options(process.argv.slice(2));
const [host, port, topic, ...payloads] = given._;
const version = Number(given.v?.[0] ?? 5);
const limit = Number(given.timeout?.[0] ?? 10000);
const answer = { connect: null, results: [], error: null };

const client = mqtt.connect({
  host,
  port: Number(port),
  protocol: "mqtt",
  protocolVersion: version,
  clientId: given["client-id"]?.[0] ?? "mqttjs-test",
  clean: true,
  reconnectPeriod: 0,
  connectTimeout: limit,
});

function finish() {
  client.end(false, {}, () => {
    say(answer);
    process.exit(0);
  });
  setTimeout(() => {
    say(answer);
    process.exit(0);
  }, 1000).unref();
}

function publish(payload) {
  const properties = {};
  for (const pair of given.prop ?? []) (properties.userProperties ??= {})[pair.slice(0, pair.indexOf("="))] = pair.slice(pair.indexOf("=") + 1);
  if (given["content-type"]) properties.contentType = given["content-type"][0];
  const settings = { qos: Number(given.qos?.[0] ?? 1), ...(version === 5 ? { properties } : {}) };
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ acked: false, reason: null, error: "no answer in time" }), limit);
    client.publish(topic, payload, settings, (error, packet) => {
      clearTimeout(timer);
      const reason = error?.code ?? packet?.reasonCode ?? 0;
      resolve({ acked: !error || typeof error.code === "number", reason, error: error ? String(error) : null });
    });
  });
}

client.on("error", (error) => {
  answer.error = String(error);
  if (!answer.connect) finish();
});
client.on("connect", async (connack) => {
  answer.connect = { reason: connack.reasonCode ?? connack.returnCode, session_present: connack.sessionPresent, properties: connack.properties ?? {} };
  answer.results = await Promise.all(payloads.map(publish));
  finish();
});
setTimeout(() => {
  answer.error ??= "the time is up";
  finish();
}, limit * 2).unref();
