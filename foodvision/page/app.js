// The page: takes a photo by button, drop, paste, camera or example, and shows the answer to it.

import { answer } from "./answer.js";
import { BadPhoto, decode, seenPart, square } from "./photo.js";
import { Model } from "./runtime.js";

const $ = (id) => document.getElementById(id);
const LONGEST = 720; // pixels of the preview's longer side
const PLASMA = [[13, 8, 135], [76, 2, 161], [126, 3, 168], [170, 35, 149], [204, 71, 120], [230, 108, 92], [248, 149, 64], [253, 197, 39], [240, 249, 33]];
const plain = (name) => name.replaceAll("_", " ");

let facts, loading, failure, shown; // `shown`: bitmap, evidence and answer of the photo on the page
let turn = 0; // which photo is the latest: an older one's answer is not shown any more

function element(tag, text = "", properties = {}) {
  return Object.assign(document.createElement(tag), text ? { textContent: text } : {}, properties);
}

function state(name) {
  document.documentElement.dataset.state = name;
  $("answer").setAttribute("aria-busy", name === "busy");
}

function say(...parts) {
  $("answer").replaceChildren(...parts);
}

function trouble(text) {
  say(element("h2", "That did not work"), element("p", text, { className: "trouble" }));
  state("trouble");
}

// --- The answer

function bar({ name, probability }) {
  const row = element("li"), track = element("span", "", { className: "track" }), fill = element("span", "", { className: "fill" });
  fill.style.width = `${100 * probability}%`;
  track.setAttribute("aria-hidden", "true");
  track.append(fill);
  const chance = probability >= 0.001 ? `${(100 * probability).toFixed(1)} %` : "< 0.1 %";
  row.append(element("span", plain(name)), element("span", chance, { className: "chance" }), track);
  return row;
}

function show({ ranked, sure, reason }, milliseconds, model) {
  const head = sure
    ? [element("h2", plain(ranked[0].name))]
    : [element("h2", "Not sure"), element("p", `This may be none of the dishes I know: ${reason}.`), element("p", "The closest are:")];
  const list = element("ol");
  list.append(...ranked.map(bar));
  const time = `Answered in ${milliseconds.toFixed(0)} ms by LiteRT ${facts.runtime.version} in ${model.name}.`;
  say(...head, list, element("p", time, { className: "small" }));
}

// What each place says for the likeliest class, 0 to 1: as the app's heat map
function heatOf(evidence, best) {
  const cells = Math.round(Math.sqrt(evidence.length / facts.classes.length)), side = 64, heat = new Float32Array(side * side);
  const at = (y, x) => Math.max(0, evidence[(y * cells + x) * facts.classes.length + best]);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [v, u] = [y, x].map((place) => Math.min(cells - 1, Math.max(0, ((place + 0.5) * cells) / side - 0.5)));
      const [top, left] = [Math.floor(v), Math.floor(u)], [low, right] = [Math.min(top + 1, cells - 1), Math.min(left + 1, cells - 1)];
      const upper = at(top, left) * (left + 1 - u) + at(top, right) * (u - left);
      heat[y * side + x] = upper * (top + 1 - v) + (at(low, left) * (left + 1 - u) + at(low, right) * (u - left)) * (v - top);
    }
  }
  const most = Math.max(...heat, 1e-12);
  return heat.map((value) => value / most);
}

function heatPicture(heat) {
  const side = Math.sqrt(heat.length), picture = new ImageData(side, side);
  heat.forEach((value, k) => {
    const place = value * (PLASMA.length - 1), from = Math.min(PLASMA.length - 2, Math.floor(place));
    const colour = PLASMA[from].map((low, channel) => low + (PLASMA[from + 1][channel] - low) * (place - from));
    picture.data.set([...colour, 255 * 0.65 * value], 4 * k);
  });
  const canvas = element("canvas", "", { width: side, height: side });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

// The photo at a size for the page; what the model does not see of it is pale
function draw() {
  const { bitmap, evidence, said } = shown, canvas = $("preview"), pen = canvas.getContext("2d");
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const part = seenPart(bitmap, facts.center_crop), place = [part.left, part.top, part.width, part.height].map((value) => value * scale);
  pen.globalAlpha = 0.35;
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  pen.globalAlpha = 1;
  pen.drawImage(bitmap, part.left, part.top, part.width, part.height, ...place);
  let label = facts.center_crop && bitmap.width !== bitmap.height ? "Your photo; the model looks at its centre square" : "Your photo";
  if (evidence && $("heat").checked) {
    pen.drawImage(heatPicture(heatOf(evidence, said.ranked[0].id)), ...place);
    label += `. The warmer the colour, the more that part speaks for ${plain(said.ranked[0].name)}`;
  }
  canvas.setAttribute("aria-label", label);
  canvas.hidden = false;
  $("hint").hidden = true;
}

// --- From a file to its answer

async function take(file, name = file.name ? `“${file.name}”` : "The picture") {
  const mine = ++turn;
  closeCamera();
  state("busy");
  let model;
  try {
    model = await loading; // a photo may be given before the classifier is there
  } catch {
    return trouble(failure);
  }
  const start = performance.now();
  try {
    const photo = await decode(file, name);
    if (mine !== turn) return photo.bitmap.close();
    shown?.bitmap.close();
    shown = { bitmap: photo.bitmap };
    draw();
    const pixels = square(photo, facts);
    const outputs = await model.run(pixels);
    if (mine !== turn) return;
    const said = answer(outputs, facts);
    Object.assign(shown, { evidence: outputs.evidence, said, pixels, outputs });
    show(said, performance.now() - start, model);
    $("why").hidden = false;
    draw();
    state("answered");
    $("answer").scrollIntoView({ block: "nearest" }); // on a phone it stands below the photo
    if (model.webgpu === "not tried") {
      model.webgpu = "being tried";
      (self.requestIdleCallback ?? setTimeout)(() => model.tryWebGpu(pixels).then(about));
    }
  } catch (error) {
    if (mine !== turn) return;
    $("why").hidden = true;
    trouble(error instanceof BadPhoto ? error.message : `${name} could not be looked at in this browser. Please try a smaller photo.`);
  }
}

function takeFirst(files, otherwise) {
  const all = [...(files ?? [])], file = all.find((one) => one.type.startsWith("image/")) ?? all[0];
  if (file) return take(file);
  closeCamera();
  turn++;
  trouble(otherwise);
}

// --- The camera

let stream;

function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  $("video").srcObject = null;
  for (const id of ["video", "shoot", "stop"]) $(id).hidden = true;
  for (const id of ["camera", "choose"]) $(id).hidden = false;
  $("preview").hidden = !shown;
  $("hint").hidden = !!shown;
}

async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) return trouble("This browser gives no camera to this page: that needs https, or localhost.");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    return trouble(denied ? "The camera was not allowed for this page. Its settings are beside the address." : "No camera could be opened on this device.");
  }
  $("video").srcObject = stream;
  for (const id of ["video", "stop"]) $(id).hidden = false;
  for (const id of ["camera", "choose", "preview", "hint", "why"]) $(id).hidden = true;
  await $("video").play();  // there is a picture to take from now on
  $("shoot").hidden = false;
  $("shoot").focus();
}

async function shoot() {
  const video = $("video"), canvas = element("canvas", "", { width: video.videoWidth, height: video.videoHeight });
  if (!video.videoWidth) return;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  await take(blob, "The picture");
  $("camera").focus();
}

// --- What surrounds it

const examples = new Map(); // their files by address: fetched before the page says that it is ready, so no click needs a network

function offer({ file, name }) {
  const button = element("button", "", { type: "button", className: "example" });
  button.append(element("img", "", { src: file, alt: `Example: ${plain(name)}, drawn`, width: 72, height: 72 }));
  button.addEventListener("click", () => take(examples.get(file), `The example ${plain(name)}`));
  return button;
}

async function keep({ file }) {
  examples.set(file, await (await fetch(file)).blob());
}

function about() {
  const { measured, model } = facts, parts = [];
  if (measured) parts.push(`${(100 * measured.top_1).toFixed(1)} % right on ${measured.photos.toLocaleString("en")} test photos.`);
  parts.push(`Model ${model.name}, ${(model.bytes / 1e6).toFixed(1)} MB, ${facts.center_crop ? "looks at the centre square" : "looks at all"} of a photo, ` +
    `scaled to ${facts.side} by ${facts.side} pixels.`);
  if (facts.state) parts.push(`WebGPU: ${facts.state.webgpu}.`);
  parts.push("It must not be used to decide what is safe to eat.");
  $("about").textContent = parts.join(" ");
}

function listen() {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files.length) takeFirst($("file").files);
    $("file").value = ""; // so that the same file may be chosen again
  });
  $("camera").addEventListener("click", openCamera);
  $("shoot").addEventListener("click", shoot);
  $("stop").addEventListener("click", () => (closeCamera(), $("camera").focus()));
  $("heat").addEventListener("change", draw);
  addEventListener("keydown", (event) => event.key === "Escape" && stream && (closeCamera(), $("camera").focus()));
  addEventListener("dragover", (event) => (event.preventDefault(), $("drop").classList.add("over")));
  addEventListener("dragleave", (event) => event.relatedTarget || $("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    takeFirst(event.dataTransfer.files, "What was dropped is no file. Save the picture first, then drop the file here.");
  });
  addEventListener("paste", (event) => {
    takeFirst(event.clipboardData.files, "There is no picture to paste: copy one first.");
  });
}

async function start() {
  facts = await (await fetch("facts.json")).json();
  const names = facts.classes.slice(0, 8).map(plain).join(", ");
  $("knows").textContent = `It knows ${facts.classes.length} dishes: ${names}${facts.classes.length > 8 ? " …" : "."}`;
  about();
  $("pictures").append(...facts.examples.map(offer));
  const odd = facts.examples.some(({ sure }) => !sure) ? ", and one of which it is not sure" : "";
  $("drawn").textContent = `No photo at hand? Drawn pictures, chosen so that it recognises them${odd}:`;
  const [model] = await Promise.all([Model.load(facts), ...facts.examples.map(keep)]);
  facts.state = model;
  return model;
}

listen();
loading = start();
loading.then(
  () => {
    $("examples").hidden = !facts.examples.length;
    if (turn) return; // a photo was given while the classifier was loading
    say(element("p", "Ready. Show me a photo, and the answer stands here."));
    state("ready");
  },
  (error) => {
    failure = `The classifier could not be loaded (${error.message}). Please load the page again.`;
    trouble(failure);
  },
);
self.foodvision = { take, loading, get shown() { return shown; } };
