// A photo of any size to the square of pixels that the model takes, with the arithmetic of foodvision's decode_image:
// decoded whole by the browser, turned as its EXIF notes say, transparency on white, colour profiles not applied, then
// reduced and scaled as Pillow does it (Reduce.c, Resample.c), whole numbers and rounding included. A canvas never scales
// what the model sees.

const LARGEST_BYTES = 512 * 2 ** 20;
const LARGEST_PIXELS = Math.floor(2 ** 30 / 12);
const LARGEST_JPEG = 2 ** 27; // as in foodvision: phones have 108 megapixels
const PRECISION = 22; // bits behind the point of Pillow's filter weights
const PADDING = 127; // the grey beside a padded photo
const GAP = 3; // Pillow's reducing_gap: means of blocks down to this many times the wanted side, then the filter

export class BadPhoto extends Error {}

// What the first bytes of a file say it is; empty for anything else
function formatOf(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 12));
  if (text.startsWith("\xff\xd8\xff")) return "JPEG";
  if (text.startsWith("\x89PNG")) return "PNG";
  if (text.startsWith("RIFF") && text.endsWith("WEBP")) return "WebP";
  if (text.startsWith("GIF8")) return "GIF";
  return text.startsWith("BM") ? "BMP" : "";
}

function lastPair(bytes, first, second) {
  for (let i = bytes.length - 2; i >= 0; i--) if (bytes[i] === first && bytes[i + 1] === second) return i;
  return -1;
}

// Whether the end of a file is missing. Browsers show the part that is there; Python refuses, and so does this page.
function isCutOff(bytes, format) {
  if (format === "JPEG") return lastPair(bytes, 0xff, 0xd9) < lastPair(bytes, 0xff, 0xda);
  if (format === "PNG") return !String.fromCharCode(...bytes.subarray(-1024)).includes("IEND");
  if (format === "WebP") return new DataView(bytes.buffer).getUint32(4, true) + 8 > bytes.length;
  return false;
}

// Width and height from a file's header alone: a picture that is too large is never decoded
async function sizeOf(blob) {
  const url = URL.createObjectURL(blob);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject, src: url }));
    return [image.naturalWidth, image.naturalHeight];
  } finally {
    URL.revokeObjectURL(url);
  }
}

// A file, decoded by the browser: its bitmap and format. Throws BadPhoto with a sentence for people.
export async function decode(blob, name = "This file") {
  if (!blob.size) throw new BadPhoto(`${name} is empty.`);
  if (blob.size > LARGEST_BYTES) throw new BadPhoto(`${name} is too large: over ${LARGEST_BYTES / 2 ** 20} MB.`);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const format = formatOf(bytes);
  let width, height;
  try {
    [width, height] = await sizeOf(blob);
  } catch {
    const why = format ? `it begins like a ${format}, but is damaged or cut off` : "it is no picture that this browser can read";
    throw new BadPhoto(`${name} is not a readable photo: ${why}. A JPEG, PNG or WebP works best.`);
  }
  const most = format === "JPEG" ? LARGEST_JPEG : LARGEST_PIXELS;
  if (width * height > most) {
    const millions = (pixels) => Math.floor(pixels / 1e6);
    throw new BadPhoto(`${name} has ${millions(width * height)} megapixels; up to ${millions(most)} can be read. Please make it smaller first.`);
  }
  if (isCutOff(bytes, format)) throw new BadPhoto(`${name} is cut off: its end is missing.`);
  try {
    const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    return { bitmap, format };
  } catch {
    throw new BadPhoto(`${name} is damaged, or too much for this browser. A JPEG, PNG or WebP works best.`);
  }
}

// Which part of a photo fills which part of the square, as foodvision's place_photo: boxes of left, top, width and height.
export function placePhoto({ width, height }, side, fit) {
  const longer = Math.max(width, height), shorter = Math.min(width, height);
  if (fit === "crop") {
    const [left, top] = [width, height].map((length) => Math.floor((length - shorter) / 2));
    return { photo: { left, top, width: shorter, height: shorter }, square: { left: 0, top: 0, width: side, height: side } };
  }
  const scaled = (length) => (fit === "pad" ? Math.max(1, Math.floor((2 * side * length + longer) / (2 * longer))) : side);
  const [across, down] = [scaled(width), scaled(height)];
  const square = { left: Math.floor((side - across) / 2), top: Math.floor((side - down) / 2), width: across, height: down };
  return { photo: { left: 0, top: 0, width, height }, square };
}

// Some rows at a time of a part of a bitmap, on white: the whole would need a gigabyte for the largest photos
function rowsOf(bitmap, part) {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  return {
    width: part.width, height: part.height, channels: 4,
    rows(top, count) {
      canvas.width = part.width; // this also clears the canvas
      canvas.height = count;
      pen.fillStyle = "white";
      pen.fillRect(0, 0, part.width, count);
      pen.drawImage(bitmap, part.left, part.top + top, part.width, count, 0, 0, part.width, count);
      return pen.getImageData(0, 0, part.width, count).data;
    },
  };
}

// Means of blocks, at the right and lower edge of what is left there; blocks of 1 by 1 copy. As Pillow's Reduce.c.
function blockMeans(source, across, down) {
  const width = Math.ceil(source.width / across), height = Math.ceil(source.height / down);
  const data = new Uint8Array(width * height * 3);
  const step = Math.max(1, Math.floor(2 ** 20 / source.width / down)); // rows of blocks at a time
  for (let first = 0; first < height; first += step) {
    const top = first * down, count = Math.min(step * down, source.height - top);
    const given = source.rows(top, count);
    for (let y = first; y < Math.min(first + step, height); y++) {
      const from = y * down - top, to = Math.min(from + down, count);
      for (let x = 0; x < width; x++) {
        const left = x * across, right = Math.min(left + across, source.width);
        const pixels = (to - from) * (right - left), half = pixels >> 1, factor = Math.floor(2 ** 24 / pixels);
        for (let channel = 0; channel < 3; channel++) {
          let sum = half;
          for (let row = from; row < to; row++) {
            const start = row * source.width;
            for (let column = left; column < right; column++) sum += given[(start + column) * source.channels + channel];
          }
          data[(y * width + x) * 3 + channel] = Math.floor((sum * factor) / 2 ** 24);
        }
      }
    }
  }
  return { width, height, data, channels: 3, rows: (top, count) => data.subarray(top * width * 3, (top + count) * width * 3) };
}

function cubic(x) {
  x = Math.abs(x);
  return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

// For each pixel of the result the first pixel that counts and the weights from there, as whole numbers
function filterWeights(size, end, side) {
  const scale = Math.fround(end) / side, stretch = Math.max(scale, 1), support = 2 * stretch;
  return Array.from({ length: side }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5)), last = Math.min(size, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: last - first }, (_, k) => cubic((first + k - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    const whole = (value) => Math.trunc(value * 2 ** PRECISION + (value < 0 ? -0.5 : 0.5));
    return { first, weights: weights.map((weight) => whole(sum ? weight / sum : weight)) };
  });
}

function filter(image, places, vertical) {
  const width = vertical ? image.width : places.length, height = vertical ? places.length : image.height;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = places[vertical ? y : x];
      const start = (vertical ? first * image.width + x : y * image.width + first) * 3, step = vertical ? image.width * 3 : 3;
      for (let channel = 0; channel < 3; channel++) {
        let sum = 2 ** (PRECISION - 1);
        for (let k = 0; k < weights.length; k++) sum += image.data[start + k * step + channel] * weights[k];
        data[(y * width + x) * 3 + channel] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** PRECISION)));
      }
    }
  }
  return { width, height, data, channels: 3 };
}

// Pillow's resize, bicubic with reducing_gap=3
function resize(source, width, height) {
  if (source.width === width && source.height === height) return blockMeans(source, 1, 1).data;
  const across = Math.trunc(source.width / width / GAP) || 1, down = Math.trunc(source.height / height / GAP) || 1;
  let image = blockMeans(source, across, down);
  const [right, bottom] = [source.width / across, source.height / down];
  if (image.width !== width || right !== image.width) image = filter(image, filterWeights(image.width, right, width), false);
  if (image.height !== height || bottom !== image.height) image = filter(image, filterWeights(image.height, bottom, height), true);
  return image.data;
}

// The pixels that the model takes of a decoded photo: uint8, side by side by 3, red, green, blue. Where the model sees all
// of a photo, Python lets the JPEG decoder give a large one at a half, a quarter or an eighth, by means of its blocks
// (jidctred.c of libjpeg). Colours have blocks of their own there, so at their edges values differ a little.
export function square({ bitmap, format }, { side, fit }) {
  const place = placePhoto(bitmap, side, fit);
  let source = rowsOf(bitmap, place.photo);
  if (format === "JPEG") {
    const half = bitmap.width * bitmap.height > LARGEST_PIXELS ? 2 : 1; // Python has the largest at half their size at most
    const room = fit === "crop" ? half : Math.min(Math.floor(source.width / side), Math.floor(source.height / side));
    const scale = [8, 4, 2].find((times) => room >= times);
    if (scale) source = blockMeans(source, scale, scale);
  }
  const { left, top, width, height } = place.square;
  const scaled = resize(source, width, height);
  if (width === side && height === side) return scaled;
  const pixels = new Uint8Array(side * side * 3).fill(PADDING);
  for (let y = 0; y < height; y++) pixels.set(scaled.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * side + left) * 3);
  return pixels;
}
