// The page: two surfaces with one camera, their profiles, and a setting that the address remembers.
"use strict";
const element = id => document.getElementById(id), SIDES = ["left", "right"], PROFILES = ["loss", "gradient_z"];
const HOME = {azimuth: -58, elevation: 24, distance: 2};
const LIMITS = {x: [-3, 3], y: [0, 1]};
const state = {...SETUP.state, z: 0.8, ...HOME};
const webgl = (() => {
  try { const canvas = document.createElement("canvas"); return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl")); }
  catch { return false; }
})();
let charts = {}, linking = false, saving = null, shown = {};

const lossOf = side => state[side];
const rangesOf = activation => SETUP.ranges[activation];
const number = value => Number.isFinite(value) ? String(Number(value.toPrecision(3))) : Number.isNaN(value) ? "undefined" : "infinite";

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const choices = {activation: ACTIVATIONS, left: LOSSES, right: LOSSES, quantity: {output: 1, loss: 1, gradient: 1}};
  for (const [name, value] of given) {
    if (name in choices && value in choices[name]) state[name] = value;
    const n = Number(value);
    if (value === "" || !Number.isFinite(n)) continue;
    if (name in LIMITS) state[name] = Math.min(LIMITS[name][1], Math.max(LIMITS[name][0], n));
    if (name === "z" || name === "azimuth") state[name] = n;
    if (name === "elevation") state[name] = Math.min(89, Math.max(-89, n));
    if (name === "distance") state[name] = Math.min(5, Math.max(0.6, n));
  }
}

function writeAddress() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const kept = Object.entries(state).map(([name, value]) => [name, typeof value === "number" ? String(Number(value.toFixed(3))) : value]);
    history.replaceState(null, "", "#" + new URLSearchParams(kept));
  }, 250);
}

function camera() {
  const turn = state.azimuth + (state.x < 0 ? 90 : 0), [a, e] = [turn, state.elevation].map(angle => angle * Math.PI / 180);
  return {
    up: {x: 0, y: 0, z: 1}, center: {x: 0, y: 0, z: -0.1}, projection: {type: "perspective"},
    eye: {x: state.distance * Math.cos(a) * Math.cos(e), y: state.distance * Math.sin(a) * Math.cos(e), z: state.distance * Math.sin(e)},
  };
}

function keepCamera({eye}) {
  state.distance = Math.hypot(eye.x, eye.y, eye.z);
  state.elevation = Math.asin(eye.z / state.distance) * 180 / Math.PI;
  state.azimuth = Math.atan2(eye.y, eye.x) * 180 / Math.PI - (state.x < 0 ? 90 : 0);
}

function valueTicks(mesh) {
  const values = mesh.rows.filter(Boolean).map(row => row.value);
  if (!values.length) return [0, 1];
  let low = Math.min(...values), high = Math.max(...values);
  if (state.quantity !== "gradient") low = Math.min(low, 0); else { high = Math.max(high, -low); low = -high; }
  return roundTicks(low, high, 4);
}

function traces(mesh, ticks, ranges) {
  const lines = mesh.rows.map(row => row && {...row, ends: levelLine(row.z, state.x, ranges)});
  const along = (k, at) => lines.map(line => line ? [0, 0.5, 1].map(share => at(line, k, share)) : [null, null, null]);
  const place = (line, k, share) => line.ends[0][k] + share * (line.ends[1][k] - line.ends[0][k]);
  const gradient = state.quantity === "gradient";
  const floors = mesh.gaps.map(gap => {
    const outline = span(gap.low, gap.high, 25).map(z => levelLine(z, state.x, ranges));
    return {
      type: "surface", x: outline.map(ends => ends.map(end => end[0])), y: outline.map(ends => ends.map(end => end[1])),
      z: outline.map(() => [ticks[0], ticks[0]]), showscale: false, opacity: 0.55, colorscale: [[0, "#9aa5b1"], [1, "#9aa5b1"]],
      hovertemplate: `${gap.kind === "cut" ? "beyond the scale" : gap.kind}<extra></extra>`,
    };
  });
  return [{
    type: "surface", x: along(0, place), y: along(1, place), z: along(0, line => line.value), connectgaps: false,
    showscale: false, cmin: ticks[0], cmax: ticks.at(-1), colorscale: gradient ? SETUP.diverging : SETUP.sequential,
    lighting: {ambient: 0.8, diffuse: 0.35, specular: 0.02}, hovertemplate:
      `w = %{x:.2f}<br>b = %{y:.2f}<br>${QUANTITIES[state.quantity]} = %{z:.4g}<extra></extra>`,
  }, {type: "scatter3d", mode: "lines", x: [], y: [], z: [], line: {width: 7, color: "#000"}, hoverinfo: "skip"}, ...floors];
}

function drawSurface(side) {
  const ranges = rangesOf(state.activation), loss = lossOf(side);
  const mesh = meshRows(state.quantity, state.activation, loss, state.x, state.y, ranges, SETUP.rows);
  const ticks = valueTicks(mesh);
  shown[side] = {mesh, ticks};
  const notes = mesh.gaps.length ? ["left out where infinite or undefined"] : [];
  if (mesh.limit !== Infinity) notes.push(`cut off at ${state.quantity === "gradient" ? "±" : ""}${mesh.limit}, grows without bound`);
  element(`${side}-note`).textContent = notes.join("; ");
  if (!webgl) return drawPicture(side);
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  // The lowest label of an axis would lie on the lowest of the height.
  const floorTicks = ([low, high]) => roundTicks(low, high, 4).filter(at => at > low + 0.12 * (high - low) && at < high);
  const axis = (text, more) => ({title: {text}, gridcolor: line, zerolinecolor: line, color: ink, showspikes: false, tickangle: 0, ...more});
  const layout = {
    margin: {l: 0, r: 0, t: 0, b: 0}, paper_bgcolor: "rgba(0,0,0,0)", font: {color: ink, size: 13, family: "system-ui, sans-serif"},
    showlegend: false,
    scene: {
      xaxis: axis("weight w", {range: ranges.w, tickvals: floorTicks(ranges.w)}), yaxis: axis("bias b", {range: ranges.b, tickvals: floorTicks(ranges.b)}),
      zaxis: axis(QUANTITIES[state.quantity], {range: [ticks[0], ticks.at(-1)], tickvals: ticks}),
      aspectmode: "manual", aspectratio: {x: 1, y: 1, z: 0.7}, camera: camera(), dragmode: "orbit",
    },
  };
  const place = element(`${side}-surface`), data = traces(mesh, ticks, ranges), first = !place.data;
  return Plotly.react(place, data, layout, {responsive: true, displaylogo: false, displayModeBar: false}).then(() => {
    if (first) watchSurface(side, place);
  });
}

function drawPicture(side) {
  const picture = element(`${side}-picture`), loss = lossOf(side), activation = state.activation, quantity = state.quantity;
  const stem = quantity === "output" ? `output_${activation}` : `${quantity}_${activation}_${loss}`;
  const drawn = SETUP.drawn.pictures.includes(stem);
  picture.hidden = !drawn;
  if (drawn) { picture.src = `${stem}.svg`; picture.alt = `${QUANTITIES[quantity]}: ${ACTIVATIONS[activation].label}, ${LOSSES[loss].label}`; }
  element(`${side}-note`).textContent = drawn
    ? `This browser has no WebGL: a picture, drawn at x = ${SETUP.drawn.x}, y = ${SETUP.drawn.y}`
    : `This browser has no WebGL, and there is no picture: lossact surfaces --activation ${activation} --loss ${loss} draws it`;
}

function watchSurface(side, place) {
  const other = element(`${SIDES.find(one => one !== side)}-surface`);
  const follow = event => {
    const moved = event["scene.camera"];
    if (!moved || linking) return;
    keepCamera(moved);
    linking = true;
    Plotly.relayout(other, {"scene.camera": moved}).finally(() => { linking = false; });
    writeAddress();
  };
  place.on("plotly_relayouting", follow);
  place.on("plotly_relayout", follow);
  place.on("plotly_hover", event => mark(event.points[0].x * state.x + event.points[0].y));
}

function turnBy(azimuth, elevation, zoom) {
  state.azimuth += azimuth;
  state.elevation = Math.min(89, Math.max(-89, state.elevation + elevation));
  state.distance = Math.min(5, Math.max(0.6, state.distance * zoom));
  aim();
}

function aim() {
  writeAddress();
  if (!webgl) return;
  linking = true;
  Promise.all(SIDES.map(side => Plotly.relayout(element(`${side}-surface`), {"scene.camera": camera()}))).finally(() => { linking = false; });
}

function drawProfiles() {
  const losses = SIDES.map(lossOf), labels = losses.map(loss => LOSSES[loss].label);
  for (const quantity of PROFILES) {
    const meshes = losses.map(loss => meshRows(quantity, state.activation, loss, state.x, state.y, rangesOf(state.activation), SETUP.rows));
    charts[quantity] = profileChart(element(`profile-${quantity}`), meshes, labels, state.activation, quantity === "gradient_z");
  }
  labels.forEach((label, k) => { for (const one of document.querySelectorAll(`.name-${k}`)) one.textContent = label; });
  const slider = element("z"), {low, high} = charts.loss;
  Object.assign(slider, {min: low, max: high, step: (high - low) / 400});
}

// Mark a point on the profiles, and its level line on both surfaces.
function mark(z) {
  const {low, high} = charts.loss;
  state.z = Math.min(high, Math.max(low, z));
  element("z").value = state.z;
  const values = {};
  for (const quantity of PROFILES) {
    values[quantity] = SIDES.map(side => profileOf(quantity, state.activation, lossOf(side), state.x, state.y)(state.z));
    drawMarker(element(`profile-${quantity}`), charts[quantity], state.z, values[quantity]);
  }
  const parts = SIDES.map((side, k) => `${LOSSES[lossOf(side)].label}: loss ${number(values.loss[k])}, gradient ${number(values.gradient_z[k])}`);
  element("readout").textContent = `z = ${state.z.toFixed(2)}, p = ${number(ACTIVATIONS[state.activation].f(state.z))}. ${parts.join(". ")}.`;
  if (webgl) for (const side of SIDES) markSurface(side);
  writeAddress();
}

function markSurface(side) {
  const place = element(`${side}-surface`), {mesh, ticks} = shown[side];
  if (!place.data) return;
  const value = profileOf(state.quantity, state.activation, lossOf(side), state.x, state.y)(state.z);
  const there = Number.isFinite(value) && Math.abs(value) <= mesh.limit;
  const ends = there ? levelLine(state.z, state.x, rangesOf(state.activation)) : [];
  const lift = 0.006 * (ticks.at(-1) - ticks[0]);
  Plotly.restyle(place, {
    x: [ends.map(end => end[0])], y: [ends.map(end => end[1])], z: [ends.map(() => value + lift)],
    "line.color": getComputedStyle(document.documentElement).getPropertyValue("--ink"),
  }, [1]);
}

function draw() {
  for (const name of ["activation", "left", "right"]) element(name).value = state[name];
  for (const one of document.querySelectorAll("[name=quantity]")) one.checked = one.value === state.quantity;
  for (const name of ["x", "y"]) { element(name).value = state[name]; element(`${name}-value`).textContent = state[name].toFixed(2); }
  drawProfiles();
  const drawn = Promise.all(SIDES.map(drawSurface));
  drawn.then(() => mark(state.z));
  return drawn;
}

function start() {
  document.body.classList.toggle("pictures", !webgl);
  readAddress();
  for (const [id, choices] of [["activation", ACTIVATIONS], ["left", LOSSES], ["right", LOSSES]]) {
    for (const name in choices) element(id).add(new Option(choices[name].label, name));
    element(id).addEventListener("input", event => { state[id] = event.target.value; draw(); });
  }
  for (const name of ["x", "y"]) element(name).addEventListener("input", event => { state[name] = Number(event.target.value); draw(); });
  for (const one of document.querySelectorAll("[name=quantity]"))
    one.addEventListener("input", event => { state.quantity = event.target.value; draw(); });
  element("z").addEventListener("input", event => mark(Number(event.target.value)));
  element("home").addEventListener("click", () => { Object.assign(state, HOME); aim(); });
  for (const quantity of PROFILES) {
    const svg = element(`profile-${quantity}`);
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect();
      mark(charts[quantity].zAt((event.clientX - box.x) * charts[quantity].width / box.width));
    });
  }
  const keys = {ArrowLeft: [-5, 0, 1], ArrowRight: [5, 0, 1], ArrowUp: [0, 5, 1], ArrowDown: [0, -5, 1], "+": [0, 0, 0.9], "-": [0, 0, 1.1]};
  for (const side of SIDES) element(`${side}-surface`).addEventListener("keydown", event => {
    if (event.key === "Home") Object.assign(state, HOME); else if (!(event.key in keys)) return;
    event.preventDefault();
    turnBy(...(keys[event.key] ?? [0, 0, 1]));
  });
  addEventListener("hashchange", () => { readAddress(); draw(); });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawProfiles(); mark(state.z); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}
document.addEventListener("DOMContentLoaded", start);
