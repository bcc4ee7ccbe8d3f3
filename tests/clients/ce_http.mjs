// The JavaScript CloudEvents SDK sends events in binary, structured and batch mode to POST /events.
//
//   ce_http.mjs HOST PORT [--path /events] [--type T] [--source S] [--id ID] [--ext NAME=VALUE]…
//
// Prints one JSON line: {"binary": ANSWER, "structured": ANSWER, "batch": ANSWER, "unescaped": ANSWER} with
// ANSWER = {"status","headers","body"}, or {"error"} when the request could not be made. The ids are ID-binary,
// ID-structured, ID-batch-0, ID-batch-1 and ID-unescaped. "unescaped" is a binary event whose extension value is
// "é%": this SDK does not percent-encode header values as the HTTP binding asks, and sends it raw (as Latin-1).
import http from "node:http";
import { randomUUID } from "node:crypto";
import { load, options, say } from "./load.mjs";

const { CloudEvent, HTTP } = load("cloudevents");
const given = options(process.argv.slice(2));
const [host, port] = given._;
const id = given.id?.[0] ?? randomUUID();
const extensions = Object.fromEntries((given.ext ?? []).map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));

const event = (suffix, more = {}) =>
  new CloudEvent({
    id: `${id}-${suffix}`,
    type: given.type?.[0] ?? "com.acme.client.javascript",
    source: given.source?.[0] ?? "/clients/javascript",
    subject: "probe 1",
    datacontenttype: "application/json",
    data: { celsius: 21.5 },
    ...extensions,
    ...more,
  });

function post(headers, body) {
  return new Promise((resolve) => {
    const request = http.request({ host, port, method: "POST", path: given.path?.[0] ?? "/events", headers, timeout: 10000 }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => {
        const text = Buffer.concat(parts).toString();
        let parsed = text;
        try {
          parsed = JSON.parse(text);
        } catch {}
        resolve({ status: answer.statusCode, headers: answer.headers, body: parsed });
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 10 s")));
    request.on("error", (error) => resolve({ error: String(error) }));
    request.end(body);
  });
}

// The SDK's headers hold undefined and Date values that node:http does not take.
const clean = (headers) => Object.fromEntries(Object.entries(headers).filter(([, v]) => v !== undefined).map(([k, v]) => [k, String(v)]));
const bytes = (body) => (typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body));

const answers = {};
const binary = HTTP.binary(event("binary"));
answers.binary = await post(clean(binary.headers), bytes(binary.body));
const structured = HTTP.structured(event("structured"));
answers.structured = await post(clean(structured.headers), bytes(structured.body));
// The SDK parses batches but makes none, so the batch is an array of its structured events.
answers.batch = await post({ "content-type": "application/cloudevents-batch+json; charset=utf-8" }, JSON.stringify([event("batch-0"), event("batch-1")]));
const unescaped = HTTP.binary(event("unescaped", { note: "é%" }));
answers.unescaped = await post(clean(unescaped.headers), bytes(unescaped.body));
say(answers);
