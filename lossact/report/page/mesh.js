// The mesh of lossact.functional.mesh in the browser: rows along z = w x + b, each row a level line.
"use strict";
const REFINEMENTS = 6, BISECTIONS = 60, FINEST = 100, POLE = 3;
const span = (low, high, n) => Array.from({length: n}, (_, k) => low + (high - low) * k / (n - 1));
const ascending = (a, b) => a - b;

// The last point, seen from `low`, at which a predicate is what it is at `low`.
function bisected(low, high, holds) {
  const first = holds(low);
  for (let k = 0; k < BISECTIONS; k++) {
    const middle = (low + high) / 2;
    if (holds(middle) === first) low = middle; else high = middle;
  }
  return low;
}

function breakpoints(activation, loss, y, even) {
  const levels = [0, 1], f = ACTIVATIONS[activation].f;
  if (loss === "huber") levels.push(y - 1, y + 1);
  if (loss === "hinge" && y !== 0.5) levels.push(1 / (2 * y - 1));
  const points = even[0] < 0 && even.at(-1) > 0 ? [0] : [];
  for (const level of levels)
    for (let k = 0; k + 1 < even.length; k++)
      if ((f(even[k]) > level) !== (f(even[k + 1]) > level))
        points.push(bisected(even[k], even[k + 1], z => f(z) > level));
  points.sort(ascending);
  return points.filter((z, k) => k === 0 || z - points[k - 1] > 1e-6 * (even.at(-1) - even[0]));
}

// Where an unbounded quantity is cut off: 1, 2 or 5 times a power of ten; Infinity for a bounded one.
function limitOf(even, values) {
  if (values.every(Number.isFinite)) return Infinity;
  const sizes = even.filter(Number.isFinite).map(Math.abs).sort(ascending);
  if (!sizes.length) return Infinity;
  const place = 0.9 * (sizes.length - 1), below = Math.floor(place);
  const usual = sizes[below] + (place - below) * ((sizes[below + 1] ?? sizes[below]) - sizes[below]);
  if (Math.max(...values.filter(Number.isFinite).map(Math.abs)) <= POLE * usual || usual === 0) return Infinity;
  const power = 10 ** Math.floor(Math.log10(usual));
  return [1, 2, 5, 10].map(step => step * power).find(end => end >= usual);
}

// Rows {z, value}, null between pieces; gaps {low, high, kind}.
function meshRows(quantity, activation, loss, x, y, ranges, rows) {
  const corners = ranges.w.flatMap(w => ranges.b.map(b => w * x + b));
  const low = Math.min(...corners), high = Math.max(...corners), f = profileOf(quantity, activation, loss, x, y);
  const even = span(low, high, rows), step = (high - low) / (rows - 1), offset = 1e-9 * (high - low);
  const breaks = breakpoints(activation, loss, y, even);
  const near = [...Array.from({length: REFINEMENTS}, (_, k) => step * 0.5 ** (k + 1)), offset];
  let knots = [...even, ...breaks.flatMap(point => near.flatMap(d => [point - d, point + d]))];
  const clear = z => breaks.every(point => Math.abs(z - point) >= offset / 2);
  knots = knots.filter(z => z >= low && z <= high && clear(z));
  const limit = limitOf(even.filter(clear).map(f), knots.map(f));
  const shown = z => Number.isFinite(f(z)) && Math.abs(f(z)) <= limit;
  knots.sort(ascending);
  for (let k = knots.length - 2; k >= 0; k--)
    if (shown(knots[k]) !== shown(knots[k + 1]))
      knots.push(shown(knots[k]) ? bisected(knots[k], knots[k + 1], shown) : bisected(knots[k + 1], knots[k], shown));
  knots.sort(ascending);
  const finite = knots.filter(shown).map(f), size = Math.max(...finite) - Math.min(...finite);
  const finer = [];
  for (let k = 0; k + 1 < knots.length; k++)
    if (shown(knots[k]) && shown(knots[k + 1]) && knots[k + 1] - knots[k] > 4 * offset) {
      const pieces = Math.floor(Math.abs(f(knots[k + 1]) - f(knots[k])) / (size || 1) * FINEST) + 1;
      finer.push(...span(knots[k], knots[k + 1], pieces + 1).slice(1, -1));
    }
  knots = [...knots, ...finer].sort(ascending);
  return {low, high, limit, rows: pieces(knots, f, shown, breaks, offset), gaps: gapsOf(knots, f, shown)};
}

function pieces(knots, f, shown, breaks, offset) {
  const rows = [], size = Math.max(0, ...knots.filter(shown).map(z => Math.abs(f(z))));
  knots.forEach((z, k) => {
    if (shown(z)) rows.push({z, value: f(z)});
    const next = knots[k + 1], atBreak = breaks.some(point => z < point && next > point && next - z < 4 * offset);
    const jump = atBreak && shown(z) && shown(next) && Math.abs(f(next) - f(z)) > 1e-6 * size;
    if ((jump || !shown(z)) && rows.length && rows.at(-1) !== null) rows.push(null);
  });
  if (rows.at(-1) === null) rows.pop();
  return rows;
}

function gapsOf(knots, f, shown) {
  const gaps = [];
  let start = null;
  knots.forEach((z, k) => {
    if (!shown(z) && start === null) start = knots[Math.max(k - 1, 0)];
    if (start !== null && (shown(z) || k === knots.length - 1)) {
      const middle = f((start + z) / 2);
      gaps.push({low: start, high: z, kind: Number.isNaN(middle) ? "undefined" : Number.isFinite(middle) ? "cut" : "infinite"});
      start = null;
    }
  });
  return gaps;
}

// Both ends of the line w x + b = z within the ranges.
function levelLine(z, x, {w, b}) {
  const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));
  const ends = x === 0 ? w : [(z - b[0]) / x, (z - b[1]) / x].sort(ascending).map(end => clamp(end, w));
  return ends.map(end => [end, clamp(z - end * x, b)]);
}

// Few round ticks that hold all values between them.
function roundTicks(low, high, n) {
  if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(one => one * power).find(one => one >= raw * (1 - 1e-9)), slack = 0.02 * (high - low);
  const first = Math.floor((low + slack) / step), last = Math.ceil((high - slack) / step);
  return Array.from({length: last - first + 1}, (_, k) => Number(((first + k) * step).toPrecision(12)));
}
