// Loss and gradient against z as SVG, with a marker.
"use strict";
const SATURATED = 0.05, VISIBLE = 0.4, MARGIN = {left: 52, right: 12, top: 10, bottom: 40};
const html = text => text.replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);

function saturatedSides(activation, low, high) {
  const z = span(low, high, 801), slopes = z.map(at => Math.abs(ACTIVATIONS[activation].d(at)));
  const flat = slopes.map(slope => slope < SATURATED * Math.max(...slopes)), last = z.length - 1;
  if (flat.every(Boolean)) return [];
  const sides = [];
  if (flat[0]) sides.push([low, z[flat.indexOf(false) - 1]]);
  if (flat[last]) sides.push([z[flat.lastIndexOf(false) + 1], high]);
  return sides;
}

// Whether a gradient is next to nothing over the outer half of a saturated side.
function vanishes({rows, low}, [from, to]) {
  const middle = (from + to) / 2, sizes = rows.filter(Boolean).map(row => Math.abs(row.value));
  const outer = rows.filter(row => row && (from === low ? row.z <= middle : row.z >= middle)).map(row => Math.abs(row.value));
  return outer.length > 0 && Math.max(...sizes) > 0 && Math.max(...outer) < SATURATED * Math.max(...sizes);
}

// Draws the chart, and returns what turns z and values into places.
function profileChart(svg, meshes, labels, activation, isGradient) {
  const width = Math.max(svg.clientWidth, 200), height = Math.max(svg.clientHeight, 120);
  const {low, high} = meshes[0];
  let bottom = 0, top = 0;
  for (const {rows, limit} of meshes) for (const row of rows) if (row) {
    const visible = limit === Infinity ? Infinity : VISIBLE * limit;
    bottom = Math.min(bottom, Math.max(row.value, -visible));
    top = Math.max(top, Math.min(row.value, visible));
  }
  const pad = 0.06 * (top - bottom) || 1, ends = [bottom < 0 ? bottom - pad : -0.3 * pad, top + pad];
  const X = z => MARGIN.left + (z - low) / (high - low) * (width - MARGIN.left - MARGIN.right);
  const Y = v => height - MARGIN.bottom - (v - ends[0]) / (ends[1] - ends[0]) * (height - MARGIN.top - MARGIN.bottom);
  const floor = height - MARGIN.bottom, parts = [], words = [];
  for (const [from, to] of saturatedSides(activation, low, high)) {
    const word = ["relu", "leaky_relu"].includes(activation) ? "inactive" : "saturated";
    parts.push(`<rect x="${X(from)}" y="${MARGIN.top}" width="${X(to) - X(from)}" height="${floor - MARGIN.top}" class="saturated"/>`);
    const gone = labels.filter((_, k) => isGradient && vanishes(meshes[k], [from, to]));
    const text = isGradient ? gone.length ? `${gone.join(" and ")} vanish${gone.length === 1 ? "es" : ""}` : "" : word;
    if (X(to) - X(from) > 7 * text.length)
      words.push(`<text x="${(X(from) + X(to)) / 2}" y="${isGradient ? Y(0) - 8 : MARGIN.top + 15}" text-anchor="middle">${html(text)}</text>`);
  }
  meshes.forEach(({gaps}, k) => gaps.forEach(gap => {
    parts.push(`<rect x="${X(gap.low)}" y="${MARGIN.top}" width="${X(gap.high) - X(gap.low)}" height="${floor - MARGIN.top}" fill="url(#hatch)"/>`);
    if (X(gap.high) - X(gap.low) > 7 * (labels[k].length + 11))
      words.push(`<text x="${(X(gap.low) + X(gap.high)) / 2}" y="${floor - 8}" text-anchor="middle">${html(labels[k])} undefined</text>`);
  }));
  for (const v of roundTicks(ends[0], ends[1], 4)) if (v >= ends[0] && v <= ends[1])
    parts.push(`<path d="M${MARGIN.left} ${Y(v)}H${width - MARGIN.right}" class="grid"/><text x="${MARGIN.left - 7}" y="${Y(v) + 4}" text-anchor="end">${v}</text>`);
  for (const z of roundTicks(low, high, width < 420 ? 4 : 8)) if (z >= low && z <= high)
    parts.push(`<path d="M${X(z)} ${floor}v4" class="axis"/><text x="${X(z)}" y="${floor + 17}" text-anchor="middle">${z}</text>`);
  parts.push(`<path d="M${MARGIN.left} ${floor}H${width - MARGIN.right}" class="axis"/>`);
  parts.push(`<text x="${(MARGIN.left + width - MARGIN.right) / 2}" y="${height - 5}" text-anchor="middle">z = w x + b</text>`);
  meshes.forEach(({rows}, k) => {
    let path = "", pen = "M";
    for (const row of rows) {
      if (row === null) { pen = "M"; continue; }
      path += `${pen}${X(row.z).toFixed(1)} ${Y(row.value).toFixed(1)}`;
      pen = "L";
    }
    parts.push(`<path d="${path}" class="line line-${k}" clip-path="url(#${svg.id}-clip)"/>`);
  });
  const clip = `<clipPath id="${svg.id}-clip"><rect x="${MARGIN.left}" y="${MARGIN.top}" width="${width - MARGIN.left - MARGIN.right}" height="${floor - MARGIN.top}"/></clipPath>`;
  const hatch = '<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V7" class="hatch"/></pattern>';
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.innerHTML = `<defs>${clip}${hatch}</defs>${parts.join("")}${words.join("")}<g class="marker"></g>`;
  return {X, Y, ends, low, high, width, top: MARGIN.top, floor, zAt: x => low + (x - MARGIN.left) / (width - MARGIN.left - MARGIN.right) * (high - low)};
}

function drawMarker(svg, chart, z, values) {
  const dots = values.map((value, k) => Number.isFinite(value) && value >= chart.ends[0] && value <= chart.ends[1]
    ? `<circle cx="${chart.X(z)}" cy="${chart.Y(value)}" r="5" class="dot-${k}"/>` : "");
  svg.querySelector(".marker").innerHTML = `<path d="M${chart.X(z)} ${chart.top}V${chart.floor}" class="axis"/>${dots.join("")}`;
}
