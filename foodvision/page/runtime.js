// The model in LiteRT, Google's runtime for .tflite files, compiled to WebAssembly. Where the device has WebGPU, the model
// is compiled for that too once there is time, and what is faster here and says the same goes on.

import { Environment, Tensor, loadAndCompile, loadLiteRt } from "./litert/index.js";

const ROUNDS = 5; // calls to time each way with
const CLOSE = 0.001; // most that a probability may differ between the two ways

// A file's bytes; packed ones are unpacked, unless the server has done that already
async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

// LiteRT takes its WebAssembly, and where to print to, from a global of this name
async function startLiteRt(wasm) {
  const nothing = () => {};
  self.Module = { wasmBinary: wasm, print: nothing, printErr: nothing };
  await loadLiteRt(new URL("litert/litert_wasm_compat_internal.js", import.meta.url).href);
}

export class Model {
  #bytes;
  #compiled;
  #side;
  name = "WebAssembly";
  webgpu = "not tried"; // what became of WebGPU here, in words

  static async load({ side }) {
    const started = fetchBytes("litert/litert_wasm_compat_internal.wasm.gz").then(startLiteRt);
    const [bytes] = await Promise.all([fetchBytes("model.tflite"), started]); // the one loads while the other starts
    const model = new Model();
    model.#bytes = bytes;
    model.#side = side;
    model.#compiled = await loadAndCompile(bytes, { accelerator: "wasm" });
    await model.run(new Uint8Array(side * side * 3)); // the first call is slow, so nobody waits for it
    return model;
  }

  // The model's outputs by name for one square of pixels, as arrays
  run(pixels) {
    return this.#ask(this.#compiled, pixels);
  }

  async #ask(compiled, pixels, environment) {
    const given = new Tensor(pixels, [1, this.#side, this.#side, 3], environment);
    try {
      const outputs = await compiled.run({ photos: given }), answers = {};
      for (const [name, output] of Object.entries(outputs)) {
        answers[name] = await output.data();
        output.delete();
      }
      return answers;
    } finally {
      given.delete();
    }
  }

  async #milliseconds(ask) {
    const times = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      await ask();
      times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b)[ROUNDS >> 1];
  }

  #goBack(pixels) {
    delete this.run;
    [this.name, this.webgpu] = ["WebAssembly", "was lost"];
    return this.run(pixels);
  }

  // Compile for WebGPU, and change over if it says what WebAssembly says of these pixels and is faster
  async tryWebGpu(pixels, emulated = false) {
    try {
      const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
      if (!adapter || (adapter.info?.isFallbackAdapter && !emulated)) return (this.webgpu = "not there");
      const { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage, maxTextureDimension2D } = adapter.limits;
      const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage, maxTextureDimension2D };
      const requiredFeatures = ["shader-f16", "subgroups"].filter((feature) => adapter.features.has(feature));
      const environment = await Environment.create({ webGpuDevice: await adapter.requestDevice({ requiredFeatures, requiredLimits }) });
      const compiled = await loadAndCompile(this.#bytes, { accelerator: "webgpu", environment });
      const [expected, found] = [await this.run(pixels), await this.#ask(compiled, pixels, environment)];
      const apart = Math.max(...expected.probabilities.map((chance, k) => Math.abs(chance - found.probabilities[k])));
      if (!(apart <= CLOSE)) return (this.webgpu = "says something else");
      const before = await this.#milliseconds(() => this.run(pixels));
      const after = await this.#milliseconds(() => this.#ask(compiled, pixels, environment));
      if (after >= before) {
        compiled.delete();
        return (this.webgpu = "slower here");
      }
      this.run = (square) => this.#ask(compiled, square, environment).catch(() => this.#goBack(square)); // a device can be lost
      this.name = "WebGPU";
      return (this.webgpu = "faster here");
    } catch {
      return (this.webgpu = "does not work here");
    }
  }
}
