// The JavaScript producers: batches over Node's own HTTP client, and QoS 1 over MQTT.js. Payloads and ledgers are written from
// the same description as the Python ones (tests/judge/payload.py, ledger.py) and share no code with them.
//
//   producer.mjs '{"run":…,"ledgers":DIR,"http_port":N,"mqtt_port":N,"ack":"durable","window":64,"http_rate":N,"mqtt_rate":N}'
//
// Runs until stdin ends, then waits for open answers and exits.
import { createHash } from "node:crypto";
import { openSync, writeSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { load } from "../clients/load.mjs";

const settings = JSON.parse(process.argv[2]);
const BATCH = 20, KEYS = 4, TICK = 5, ANSWER_LIMIT = 20_000, FINISH_LIMIT = 40_000, MQTT_TYPES = ["temperature", "humidity", "pressure"];
let finishing = false;

const digest = (producer, seq) => createHash("sha256").update(`${settings.run}/${producer}/${seq}`).digest().subarray(0, 20);

const CRC = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc32 = (text) => {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text)) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
};

function body(producer, seq) {
  const seed = digest(producer, seq);
  const pad = seed.toString("hex").repeat(1 + (seed[0] % 15));
  const crc = crc32(`${settings.run}/${producer}/${seq}/${pad}`);
  return JSON.stringify({ run: settings.run, producer, seq, crc, pad });
}

const key = (producer, seq) => `${producer}.${digest(producer, seq)[1] % KEYS}`;

class Ledger {
  constructor(producer) {
    this.file = openSync(path.join(settings.ledgers, `${producer}.ledger`), "a", 0o600);
  }
  note(what, seqs, epoch, word = "") {
    const at = (Date.now() / 1000).toFixed(3);
    writeSync(this.file, seqs.map((seq) => `${what} ${seq} ${epoch} ${at} ${word}\n`).join(""));
  }
}

/** What was due since the start and has not been taken. */
function pace(rate) {
  const began = Date.now();
  let taken = 0;
  return (count) => {
    if (finishing || taken + count > (rate * (Date.now() - began)) / 1000) return false;
    taken += count;
    return true;
  };
}

/** One batch at a time over one kept connection; what has no answer is sent again. */
class HttpProducer {
  constructor(name, rate) {
    [this.name, this.due, this.ledger, this.next, this.epoch, this.open] = [name, pace(rate), new Ledger(name), 0, 1, null];
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.waiting = false;
    this.notBefore = 0;
  }
  idle() {
    return this.open === null;
  }
  tick() {
    if (this.waiting || Date.now() < this.notBefore) return;
    if (this.open === null) {
      if (!this.due(BATCH)) return;
      this.open = Array.from({ length: BATCH }, (_, n) => this.next + n);
      this.next += BATCH;
    }
    this.send();
  }
  event(seq) {
    return {
      specversion: "1.0", id: `${settings.run}-${this.name}-${seq}`, type: "com.acme.judge.http", source: `/judge/${this.name}`,
      partitionkey: key(this.name, seq), datacontenttype: "application/json",
      data_base64: Buffer.from(body(this.name, seq)).toString("base64"),
    };
  }
  send() {
    this.ledger.note("ATTEMPT", this.open, this.epoch);
    this.waiting = true;
    let answered = false;
    const once = (act) => (...args) => {
      if (answered) return;
      [answered, this.waiting] = [true, false];
      act(...args);
    };
    const unknown = once((error) => this.unknown(error.code ?? error.message));
    const request = http.request({
      host: "127.0.0.1", port: settings.http_port, path: "/events", method: "POST", agent: this.agent, timeout: ANSWER_LIMIT,
      headers: { "content-type": "application/cloudevents-batch+json" },
    }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", unknown);
      answer.on("end", once(() => this.settle(answer.statusCode, Buffer.concat(parts).toString())));
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", unknown);
    request.end(JSON.stringify(this.open.map((seq) => this.event(seq))));
  }
  unknown(why) {
    this.ledger.note("UNKNOWN", this.open, this.epoch, why);
    this.epoch += 1;
    this.notBefore = Date.now() + 30;
  }
  settle(status, text) {
    let said = {};
    try { said = JSON.parse(text); } catch { /* judged below by its status */ }
    if (status === 200 || status === 202) {
      const wrong = this.open.findIndex((seq, n) => said.results?.[n]?.id !== `${settings.run}-${this.name}-${seq}` || said.results[n].ack !== settings.ack);
      if (wrong >= 0) this.ledger.note("FAULT", [this.open[wrong]], this.epoch, `answer ${text.slice(0, 200)}`);
      this.ledger.note("ACK", this.open, this.epoch);
      this.open = null;
    } else if (said.outcome === "unknown") {
      this.unknown(`${status} ${said.failure}`);
    } else {
      this.ledger.note("NACK", this.open, this.epoch, `${status} ${said.failure}`);
      this.open = null;
      this.notBefore = Date.now() + 50;
    }
  }
}

/** QoS 1 by MQTT.js, a new client for each connection; what has no answer when it ends is unknown and not sent again. */
class MqttProducer {
  constructor(name, rate) {
    [this.name, this.due, this.ledger, this.next, this.epoch] = [name, pace(rate), new Ledger(name), 0, 0];
    [this.client, this.ready, this.flight, this.notBefore] = [null, false, new Set(), 0];
  }
  idle() {
    return this.flight.size === 0;
  }
  connect() {
    this.epoch += 1;
    const client = load("mqtt").connect(`mqtt://127.0.0.1:${settings.mqtt_port}`, {
      protocolVersion: 5, clean: true, reconnectPeriod: 0, connectTimeout: 5000, clientId: `${settings.run}-${this.name}`,
    });
    this.client = client;
    client.on("connect", () => (this.ready = client === this.client));
    client.on("error", () => this.gone(client, "error"));
    client.on("close", () => this.gone(client, "close"));
  }
  gone(client, why) {
    if (client !== this.client) return;
    [this.client, this.ready, this.notBefore] = [null, false, Date.now() + 50];
    if (this.flight.size) this.ledger.note("UNKNOWN", [...this.flight], this.epoch, why);
    this.flight.clear();
    client.end(true);
  }
  tick() {
    if (this.client === null) {
      if (!finishing && Date.now() >= this.notBefore) this.connect();
      return;
    }
    while (this.ready && this.flight.size < settings.window / 2 && this.due(1)) this.publish(this.next++);
  }
  publish(seq) {
    const [client, seed] = [this.client, digest(this.name, seq)];
    const site = [...Buffer.from(this.name)].reduce((sum, byte) => sum + byte, 0) % 3;
    this.flight.add(seq);
    this.ledger.note("ATTEMPT", [seq], this.epoch);
    client.publish(`sensors/site${site}/${key(this.name, seq)}/${MQTT_TYPES[seed[2] % 3]}`, body(this.name, seq), { qos: 1 }, (error, packet) => {
      if (client !== this.client || !this.flight.delete(seq)) return;
      // MQTT.js calls a reason code of 0x80 and above an error; one without a code says that the connection went.
      if (!error) this.ledger.note("ACK", [seq], this.epoch);
      else if (error.code >= 0x80 || packet?.reasonCode >= 0x80) this.ledger.note("NACK", [seq], this.epoch, `${error.code}`);
      else this.ledger.note("UNKNOWN", [seq], this.epoch, "closed");
    });
  }
}

const producers = [new HttpProducer("http-js", settings.http_rate), new MqttProducer("mqtt-js", settings.mqtt_rate)];
let finishBy = Infinity;
process.stdin.resume();
process.stdin.on("end", () => {
  finishing = true;
  finishBy = Date.now() + FINISH_LIMIT;
});
setInterval(() => {
  for (const producer of producers) if (!(finishing && producer.idle())) producer.tick();
  if (finishing && (producers.every((producer) => producer.idle()) || Date.now() > finishBy)) process.exit(0);
}, TICK);
