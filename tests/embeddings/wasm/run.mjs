// Runs the module under Node.js: node run.mjs FILE.wasm. Fails unless each of its calls was answered.
import { readFile } from "node:fs/promises";

const CALLS = 1000;
const [file] = process.argv.slice(2);
const module = await WebAssembly.compile(await readFile(file));

// No clock, no randomness, nothing at all from outside.
const imports = WebAssembly.Module.imports(module);
if (imports.length > 0) {
  throw new Error(`the module imports ${JSON.stringify(imports)}`);
}

const { answered_calls } = (await WebAssembly.instantiate(module)).exports;
const seed = crypto.getRandomValues(new BigUint64Array(4));
const started = performance.now();
const answered = answered_calls(...seed);
console.log(`${answered} of ${CALLS} calls answered in ${Math.round(performance.now() - started)} ms`);
if (answered !== CALLS) {
  throw new Error(`only ${answered} calls were answered, with the seed ${seed}`);
}
