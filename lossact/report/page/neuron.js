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

// Output, loss and gradient in z of one neuron; a sigmoid goes by way of its logit.
function neuron(activation, loss, z, y) {
  const act = ACTIVATIONS[activation], p = act.f(z);
  if (activation === "sigmoid" && loss === "cross_entropy")
    return {output: p, loss: y * softplus(-z) + (1 - y) * softplus(z), gradient: (1 - y) * p - y * sigmoid(-z)};
  return {output: p, loss: LOSSES[loss].f(p, y), gradient: LOSSES[loss].d(p, y) * act.d(z)};
}

// A quantity as a function of z alone; the gradient in w has the input as a factor.
const QUANTITIES = {output: "output p", loss: "loss", gradient: "gradient in w", gradient_z: "gradient d loss / dz"};
const profileOf = (quantity, activation, loss, x, y) => z => {
  const at = neuron(activation, loss, z, y);
  return quantity === "gradient_z" ? at.gradient : quantity === "gradient" ? x * at.gradient : at[quantity];
};
