// The npm packages live outside this folder (ANYGATE_TEST_NODE, else .test-tools/node), where `import` does not look.
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = process.env.ANYGATE_TEST_NODE ?? path.join(here, "../../.test-tools/node");

/** A package as `require` gives it. */
export const load = createRequire(path.join(folder, "package.json"));

/** Prints the answer of a client: one JSON object on one line. */
export const say = (answer) => console.log(JSON.stringify(answer));

/** `--name value` pairs after the positional arguments; repeated names become lists. */
export function options(list) {
  const found = { _: [] };
  for (let i = 0; i < list.length; i++) {
    if (!list[i].startsWith("--")) found._.push(list[i]);
    else (found[list[i].slice(2)] ??= []).push(list[++i]);
  }
  return found;
}
