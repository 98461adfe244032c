"use strict";
// What the pages draw with. Everything shown comes in as text nodes; nothing of the data is ever
// read as markup.

const $ = (id) => document.getElementById(id);
const STATES = [
  ["grown", "continued"], ["chosen", "candidate, the chosen answer"],
  ["candidate", "candidate, another answer"], ["ended", "ended, not a candidate"],
  ["cut", "cut: not continued"], ["limit", "token limit"],
  ["cancelled", "cancelled"], ["failed", "call failed"],
  ["written", "written by the search"], ["probe", "probe: a look at what would come next"],
];

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}
const el = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const number = (value, digits = 0) =>
  value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
const score = (value) => (value == null ? "–" : value.toFixed(value && Math.abs(value) < 0.01 ? 4 : 2));
const brief = (text, limit) => (text.length > limit ? text.slice(0, limit - 1) + "…" : text);

function startTheme() {
  const root = document.documentElement;
  const kept = () => { try { return localStorage.getItem("report-theme"); } catch { return null; } };
  if (kept()) root.dataset.theme = kept();
  $("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    root.dataset.theme = theme;
    try { localStorage.setItem("report-theme", theme); } catch { /* a file may not keep it */ }
  });
}

function shape(state) {
  const line = (d, kind = "") => svg("path", { class: `glyph ${kind}`, d });
  if (state === "root") return [svg("circle", { class: "shape", r: 4 })];
  if (["chosen", "candidate", "ended"].includes(state)) {
    return [svg("rect", { class: "shape", x: -6, y: -6, width: 12, height: 12, rx: state === "ended" ? 0 : 3 }),
      ...(state === "ended" ? [line("M-6 6L6 -6")] : [])];
  }
  if (state === "written") return [svg("path", { class: "shape", d: "M0 -7L7 0L0 7L-7 0Z" })];
  const circle = svg("circle", { class: "shape", r: state === "grown" ? 6 : state === "probe" ? 3.5 : 5 });
  const glyphs = { cut: "M-7 -7L7 7M-7 7L7 -7", limit: "M9 -7V7", cancelled: "M-6 6L6 -6", failed: "M-4 -4L4 4M-4 4L4 -4" };
  return state in glyphs ? [circle, line(glyphs[state])] : [circle];
}
