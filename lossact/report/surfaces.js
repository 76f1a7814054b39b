// The neuron of lossact.functional in the browser: the same names, the same conventions, NaN where undefined.
"use strict";
const sigmoid = z => z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
const softplus = z => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
const bell = z => sigmoid(z) * sigmoid(-z);

// The normal distribution function by its series near 0 and by its continued fraction in the tails.
function normal(z) {
  const size = Math.abs(z), density = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  if (size > 6) {
    let fraction = size;
    for (let k = 40; k > 0; k--) fraction = size + k / fraction;
    return z < 0 ? density / fraction : 1 - density / fraction;
  }
  let term = z, sum = z;
  for (let k = 3; k < 160; k += 2) sum += term *= z * z / k;
  return 0.5 + density * sum;
}

const ACTIVATIONS = {
  sigmoid: {label: "sigmoid", f: sigmoid, d: bell},
  relu: {label: "ReLU", f: z => Math.max(z, 0), d: z => z > 0 ? 1 : 0},
  tanh: {label: "tanh", f: Math.tanh, d: z => 4 * bell(2 * z)},
  leaky_relu: {label: "leaky ReLU", f: z => z > 0 ? z : 0.01 * z, d: z => z > 0 ? 1 : 0.01},
  softplus: {label: "softplus", f: softplus, d: sigmoid},
  gelu: {label: "GELU", f: z => z * normal(z), d: z => normal(z) + z * Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI)},
  silu: {label: "SiLU", f: z => z * sigmoid(z), d: z => sigmoid(z) * (1 + z * sigmoid(-z))},
};
const clip = e => Math.max(-1, Math.min(1, e));
const huber = e => Math.abs(e) <= 1 ? e * e / 2 : Math.abs(e) - 0.5;
const xlogy = (x, y) => x === 0 ? 0 : x * Math.log(y);
const inside = p => p >= 0 && p <= 1;
const LOSSES = {
  l2: {label: "L2", f: (p, y) => (p - y) ** 2, d: (p, y) => 2 * (p - y)},
  cross_entropy: {
    label: "cross-entropy",
    f: (p, y) => inside(p) ? -(xlogy(y, p) + xlogy(1 - y, 1 - p)) : NaN,
    d: (p, y) => inside(p) ? (y === 1 ? 0 : (1 - y) / (1 - p)) - (y === 0 ? 0 : y / p) : NaN,
  },
  hinge: {
    label: "hinge", f: (p, y) => Math.max(0, 1 - (2 * y - 1) * p), d: (p, y) => 1 - (2 * y - 1) * p > 0 ? 1 - 2 * y : 0,
  },
  huber: {label: "Huber", f: (p, y) => huber(p - y), d: (p, y) => clip(p - y)},
};

// Output, loss and gradient in w at one point; a sigmoid goes by way of its logit.
function neuron(state, w, b) {
  const z = w * state.x + b, y = state.y, activation = ACTIVATIONS[state.activation], loss = LOSSES[state.loss];
  const p = activation.f(z);
  if (state.activation === "sigmoid" && state.loss === "cross_entropy") {
    const error = (1 - y) * p - y * sigmoid(-z);
    return {output: p, loss: y * softplus(-z) + (1 - y) * softplus(z), gradient: state.x * error};
  }
  return {output: p, loss: loss.f(p, y), gradient: state.x * loss.d(p, y) * activation.d(z)};
}

const axis = ([low, high]) => Array.from({length: SETUP.points}, (_, k) => low + (high - low) * k / (SETUP.points - 1));
const PLACES = {output: "output", loss: "loss-surface", gradient: "gradient"};
const TITLES = {output: "output p", loss: "loss", gradient: "d loss / dw"};
const state = {...SETUP.state};
const element = id => document.getElementById(id);

function grids() {
  const w = axis(SETUP.w), b = axis(SETUP.b), found = {output: [], loss: [], gradient: []};
  for (const bias of b) {
    const row = w.map(weight => neuron(state, weight, bias));
    for (const quantity in found)
      found[quantity].push(row.map(at => Number.isFinite(at[quantity]) ? at[quantity] : null));
  }
  return {w, b, found};
}

function draw() {
  const {w, b, found} = grids(), text = getComputedStyle(document.body).color;
  for (const quantity in found) {
    const finite = found[quantity].flat().filter(value => value !== null);
    const trace = {
      type: "surface", x: w, y: b, z: found[quantity], showscale: true, colorbar: {thickness: 12, len: 0.6},
      colorscale: quantity === "gradient" ? "RdBu" : "Viridis", ...(quantity === "gradient" ? {cmid: 0} : {}),
      hovertemplate: "w = %{x:.2f}<br>b = %{y:.2f}<br>" + TITLES[quantity] + " = %{z:.4g}<extra></extra>",
    };
    const title = {text: TITLES[quantity]};
    Plotly.react(PLACES[quantity], [trace], {
      margin: {l: 0, r: 0, t: 0, b: 0}, paper_bgcolor: "rgba(0,0,0,0)", font: {color: text, size: 13},
      uirevision: "kept",
      scene: {
        xaxis: {title: {text: "weight w"}}, yaxis: {title: {text: "bias b"}}, zaxis: {title},
        camera: {eye: {x: -1.7, y: -1.8, z: 1.0}},
      },
    }, {responsive: true, displaylogo: false});
    const missing = w.length * b.length - finite.length;
    element(quantity + "-note").textContent =
      missing ? "left out where infinite or undefined" : `${Math.min(...finite).toPrecision(3)} to ${Math.max(...finite).toPrecision(3)}`;
  }
  for (const name of ["x", "y"]) element(name + "-value").textContent = state[name].toFixed(2);
}

function start() {
  for (const [id, choices] of [["activation", ACTIVATIONS], ["loss", LOSSES]]) {
    for (const name in choices) element(id).add(new Option(choices[name].label, name));
    element(id).value = state[id];
    element(id).addEventListener("input", event => { state[id] = event.target.value; draw(); });
  }
  for (const name of ["x", "y"]) {
    element(name).value = state[name];
    element(name).addEventListener("input", event => { state[name] = Number(event.target.value); draw(); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}
document.addEventListener("DOMContentLoaded", start);
