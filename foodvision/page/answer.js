// From a model's outputs to what is said: ranked classes, and whether the answer is given or held back, as foodvision's
// Classifier decides it (inference.py, evaluation.py).

export function softmax(logits, temperature) {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp((logit - highest) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

export function energy(logits) {
  const highest = Math.max(...logits);
  return highest + Math.log(Array.from(logits, (logit) => Math.exp(logit - highest)).reduce((a, b) => a + b, 0));
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;

// Why an answer is held back; empty if it is given
function reason(threshold, chance, similarity, logits) {
  const { score, target, scale } = threshold;
  const value = threshold[score].value, known = `${percent(target)} of known photos`;
  if (score === "combined") {
    const [[chanceMean, chanceSpread], [mean, spread]] = [scale.max_softmax, scale.feature_similarity];
    const parts = [(chance - chanceMean) / chanceSpread, (similarity - mean) / spread];
    if (parts[0] + parts[1] >= value) return "";
    if (parts[1] <= parts[0]) {
      return `it is unlike the photos learnt from: similarity ${similarity.toFixed(2)}, where known photos have ${mean.toFixed(2)}`;
    }
    return `its best guess has ${percent(chance)}, where known photos have ${percent(chanceMean)}`;
  }
  if (score === "feature_similarity") {
    if (similarity >= value) return "";
    return `it is unlike the photos learnt from: similarity ${similarity.toFixed(2)}, below the ${value.toFixed(2)} that ${known} reach`;
  }
  if (score === "energy") {
    const found = energy(logits);
    return found >= value ? "" : `it is unlike what was learnt: energy ${found.toFixed(2)}, below the ${value.toFixed(2)} that ${known} reach`;
  }
  return chance >= value ? "" : `its best guess has ${percent(chance)}, below the ${percent(value)} that ${known} reach`;
}

// The answer to one photo: `ranked` classes with calibrated probabilities, `sure`, and the `reason` if it is not
export function answer({ logits, similarity }, facts, top = 5) {
  const chances = softmax(logits, facts.temperature);
  const order = chances.map((_, k) => k).sort((a, b) => chances[b] - chances[a] || a - b);
  const why = facts.threshold ? reason(facts.threshold, chances[order[0]], similarity[0], logits) : "";
  const ranked = order.slice(0, top).map((k) => ({ id: k, name: facts.classes[k], probability: chances[k] }));
  return { ranked, sure: !why, reason: why };
}
