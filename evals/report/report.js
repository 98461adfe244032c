// The report. What it has in common with the page of `reasoning watch` is in draw.js.

const DATA = JSON.parse($("data").textContent);
const PAGE = 100;

const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, el("wbr")]);
const grade = (ok) =>
  ok === true ? el("span", { class: "mark right", title: "right" }, "✓")
  : ok === false ? el("span", { class: "mark wrong", title: "wrong" }, "✗")
  : el("span", { title: ok === null ? "not graded" : "not run" }, ok === null ? "○" : "");

// ---------------------------------------------------------------- axes, baselines

function startAxes() {
  const buttons = [...document.querySelectorAll("[data-axis]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other === button));
        $(other.dataset.axis).hidden = other !== button;
      }
    });
  }
}

function startKey() {
  const buttons = [...document.querySelectorAll("[data-series]")];
  const show = () => {
    const alone = buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.series);
    for (const part of document.querySelectorAll('figure [id*="-series-"]')) {
      const place = part.id.match(/-series-(\d+)-/)[1];
      part.classList.toggle("faint", alone.length > 0 && !alone.includes(place));
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      show();
    });
  }
}

function startPairs() {
  if (!$("pairs-data")) return;
  const { names, rows } = JSON.parse($("pairs-data").textContent);
  const signed = (x) => {
    const shown = Number(x.toFixed(3));
    return (shown > 0 ? "+" : shown < 0 ? "−" : "±") + Math.abs(shown).toFixed(3);
  };
  const chance = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
  const show = () => {
    const base = Number($("baseline").value);
    const body = rows.filter((row) => row[0] === base || row[1] === base).map((row) => {
      let [a, b, gap, low, high, onlyA, onlyB, p, adjusted] = row;
      if (b === base) [a, b, gap, low, high, onlyA, onlyB] = [b, a, -gap, -high, -low, onlyB, onlyA];
      const cells = [signed(gap), `${signed(low)} to ${signed(high)}`, number(onlyA), number(onlyB)];
      cells.push(chance(p), chance(adjusted));
      return el("tr", {}, el("th", { scope: "row" }, ...breakable(names[b])),
        ...cells.map((cell) => el("td", { class: "num" }, cell)));
    });
    $("pairs").tBodies[0].replaceChildren(...body);
  };
  $("baseline").addEventListener("change", show);
  show();
}

// ---------------------------------------------------------------- list of problems

let listed = [], shown = PAGE;

function wanted(problem, kind, words) {
  const grades = new Set(problem.r.filter(Boolean).map((r) => r.ok));
  const fits = kind === "all"
    || (kind === "differ" && grades.has(true) && grades.has(false))
    || (kind === "wrong" && grades.has(false) && !grades.has(true))
    || (kind === "right" && grades.has(true) && !grades.has(false));
  const text = `${problem.id} ${problem.q ?? ""} ${problem.gold ?? ""}`.toLowerCase();
  return fits && words.every((word) => text.includes(word));
}

function list() {
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  listed = DATA.problems.map((_, i) => i).filter((i) => wanted(DATA.problems[i], $("show").value, words));
  const rows = listed.slice(0, shown).map((i) => {
    const problem = DATA.problems[i];
    const name = el("button", { class: "open", type: "button", onclick: () => open(i) },
      el("b", {}, el("bdi", {}, problem.id)), el("span", { dir: "auto" }, brief(problem.q ?? "", 240)));
    return el("tr", {}, el("td", {}, name), ...problem.r.map((r) => el("td", {}, grade(r?.ok))));
  });
  const head = el("tr", {}, el("th", { scope: "col" }, "problem"),
    ...DATA.strategies.map((name) => el("th", { scope: "col" }, name)));
  $("problems").tHead.replaceChildren(head);
  $("problems").tBodies[0].replaceChildren(...rows);
  $("count").textContent = `${number(listed.length)} of ${number(DATA.problems.length)} problems`;
  $("more").hidden = listed.length <= shown;
}

function startList() {
  const again = () => { shown = PAGE; list(); };
  $("show").addEventListener("change", again);
  $("find").addEventListener("input", again);
  $("more").addEventListener("click", () => { shown += 5 * PAGE; list(); });
  list();
}

// ---------------------------------------------------------------- one problem

let view = null; // the tree on screen

function open(i, strategy) {
  const problem = DATA.problems[i], place = listed.indexOf(i);
  const first = problem.r.findIndex((r) => r?.tree) < 0 ? problem.r.findIndex(Boolean) : problem.r.findIndex((r) => r?.tree);
  const step = (by) => {
    const to = listed[place + by];
    return el("button", { type: "button", disabled: place < 0 || to === undefined, onclick: () => open(to),
      "aria-label": by > 0 ? "Next problem" : "Previous problem" }, by > 0 ? "›" : "‹");
  };
  const stage = el("div", { role: "tabpanel" });
  const tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "Strategies" },
    ...problem.r.map((r, s) => r && el("button", {
      type: "button", role: "tab", "data-strategy": s, onclick: () => choose(s),
    }, grade(r.ok), " ", DATA.strategies[s])));
  function choose(s) {
    for (const tab of tabs.children) {
      const mine = Number(tab.dataset.strategy) === s;
      tab.setAttribute("aria-selected", String(mine));
      if (mine) tabs.scrollTop = tab.offsetTop - tabs.offsetTop - tabs.clientHeight / 2;
    }
    stage.replaceChildren(...solution(problem, problem.r[s]));
    view?.draw(); // once it is in the page, which tells its width
  }
  const meta = Object.entries(problem.meta ?? {}).map(([key, value]) => fact(key, String(value)));
  $("problem").replaceChildren(el("div", {},
    el("div", { class: "bar-top" }, el("h2", { id: "problem-name", tabindex: "-1", autofocus: true }, el("bdi", {}, problem.id)), step(-1), step(1),
      el("button", { type: "button", onclick: () => $("problem").close(), "aria-label": "Close" }, "✕")),
    problem.q == null ? el("p", {}, "This run did not store its questions.") : folding(problem.q),
    el("div", { class: "facts" }, fact("gold answer", problem.gold ?? "unknown"), ...meta), tabs, stage));
  if (!$("problem").open) $("problem").showModal();
  choose(strategy ?? first);
  $("problem").scrollTop = 0;
  history.replaceState(null, "", "#problem=" + encodeURIComponent(problem.id));
}

const fact = (name, value) => el("span", {}, name + " ", el("b", { dir: "auto" }, brief(value, 300)));

function folding(text) {
  const body = el("div", { class: "text", dir: "auto" }, text);
  if (text.length < 700 && text.split("\n").length < 9) return body;
  body.classList.add("fold");
  const more = el("button", { type: "button", "aria-expanded": "false", onclick: () => {
    const folded = body.classList.toggle("fold");
    more.textContent = folded ? "Show all" : "Fold";
    more.setAttribute("aria-expanded", String(!folded));
  } }, "Show all");
  return el("div", {}, body, more);
}

// Of a traceback the last line, the rest behind it.
function failure(text) {
  const lines = text.split("\n");
  if (lines.length < 2) return el("p", { class: "wrong text" }, text);
  return el("details", { class: "wrong" }, el("summary", {}, lines.at(-1)), el("pre", {}, text));
}

function solution(problem, r) {
  const [tokens, wasted, calls, chain, seconds] = r.u;
  const rows = r.votes.map(([text, n, weight, ok, best]) => el("tr", {},
    el("th", { scope: "row" }, grade(ok), " ", el("bdi", {}, text ?? "no answer"), text !== null && text === r.a ? " ← chosen" : ""),
    ...[number(n), number(weight, 3), score(best)].map((cell) => el("td", { class: "num" }, cell))));
  const heads = ["answers", "candidates", "weight", "best score"];
  const votes = el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((h, i) => el("th", { scope: "col", class: i ? "num" : null }, h)))),
    el("tbody", {}, ...rows)));
  view = null;
  const parts = [
    el("div", { class: "facts" }, fact("answer", r.a ?? (r.none ? "none, by choice" : "none")),
      r.conf != null ? fact("confidence", score(r.conf)) : null, fact("tokens", number(tokens)),
      fact("wasted", number(wasted)), fact("verifier calls", number(calls)),
      fact("longest chain", number(chain)), fact("seconds", number(seconds, 1)),
      ...(r.more ?? []).map(([name, value]) => fact(name, number(value, 6))),
      fact("ended", r.stop === "failed" ? "by an error" : r.stop)),
    r.votes.length > 6 ? el("details", {}, el("summary", {}, `${r.votes.length} different answers`), votes) : votes,
    ...(r.failures ?? []).map(failure),
  ];
  if (!r.tree) return [...parts, el("p", {}, "The tree is not in this page: see the notes at its top.")];
  view = new Tree(problem, r);
  return [...parts, ...view.parts];
}

// ---------------------------------------------------------------- the rollout tree

class Tree {
  constructor(problem, r) {
    const { t, n, p, s, v, x, c, w, m, r: read, g, b, win } = r.tree;
    const written = new Set(b ?? []);
    this.texts = x ? problem.texts : null;
    this.r = r;
    this.root = { i: -1, kids: [], depth: 0, tokens: 0, total: 0, state: "root", scores: [], parent: null };
    this.nodes = [...t].map((code, i) => ({
      i, kids: [], state: STATES[Number(code)][0], slot: s ? s[i] : i, tokens: n[i],
      scores: Object.entries(v ?? {}).map(([name, all]) => [name, [all[i] ?? []].flat()]).filter(([, all]) => all.length),
      text: x ? problem.texts[x[i]] : null, vote: c && c[i] >= 0 ? r.votes[c[i]] : null, weight: w ? w[i] : 1,
      said: m && i in m ? m[i].slice(1).map(([role, place]) => [role, problem.texts[place]]) : [],
      afresh: Boolean(m && i in m && m[i][0]), model: g?.[i], written: written.has(i), winner: win === i,
    }));
    this.nodes.forEach((node, i) => {
      node.parent = p && p[i] >= 0 ? this.nodes[p[i]] : this.root;
      node.depth = node.parent.depth + 1;
      node.total = node.parent.total + node.tokens;
      node.parent.kids.push(node);
      node.sources = (read?.[i] ?? []).map((place) => this.nodes[place]);
    });
    this.flat = this.nodes.every((node) => node.depth === 1);
    this.byTokens = this.flat;
    this.here = this.root;
    this.opened = null;
    this.canvas = el("div", { class: "canvas" });
    this.detail = el("div", { class: "detail", "aria-live": "polite" });
    const axis = el("label", {}, "Across ", el("select", { onchange: (event) => {
      this.byTokens = event.target.value === "tokens";
      this.draw();
    } }, el("option", { value: "tokens", selected: this.byTokens }, "tokens"),
      el("option", { value: "steps", selected: !this.byTokens }, "steps")));
    this.parts = [
      el("div", { class: "filters" }, el("h3", {}, "Rollout tree"), axis,
        el("output", {}, `${number(this.nodes.length)} node${this.nodes.length === 1 ? "" : "s"}`)),
      this.legend(), el("div", { class: "work" }, this.canvas, this.detail),
      r.tree.damaged ? el("p", {}, `${r.tree.damaged} damaged lines of this tree are left out.`) : el("span"),
    ];
    this.tell(null);
  }

  legend() {
    const present = new Set(this.nodes.map((node) => node.state));
    const items = STATES.filter(([state]) => present.has(state)).map(([state, text]) => {
      const bad = state === "chosen" && this.r.ok === false;
      const node = svg("g", { class: `node ${state}${bad ? " bad" : ""}`, transform: "translate(10 9)" }, ...shape(state));
      return el("li", {}, svg("svg", { width: 22, height: 18, "aria-hidden": true }, node), text);
    });
    if (this.nodes.some((node) => node.sources.length)) {
      const line = svg("path", { class: "edge read", d: "M1 9H21" });
      items.push(el("li", {}, svg("svg", { width: 22, height: 18, "aria-hidden": true }, line), "its text was read"));
    }
    if (this.nodes.some((node) => node.scores.length)) {
      items.push(el("li", {}, "score 0 ", el("span", { class: "scale" }), " 1"));
    }
    return el("ul", { class: "legend" }, ...items);
  }

  layout() {
    const order = [], stack = [this.root];
    while (stack.length) {
      const node = stack.pop();
      order.push(node);
      stack.push(...[...node.kids].reverse());
    }
    let row = 0;
    const rowed = (node) => !node.kids.length || node.vote; // what has a label has a row
    const leaves = order.filter(rowed).length;
    const height = leaves > 40 ? 20 : 24;
    const room = Math.max(200, Math.min(560, this.canvas.clientWidth - 190 || 420));
    const longest = Math.max(1, ...this.nodes.map((node) => node.total));
    for (const node of order) {
      node.x = 22 + (this.byTokens ? (node.total / longest) * room : node.depth * 46);
      if (rowed(node)) node.y = 18 + height * row++;
    }
    for (const node of order.reverse()) {
      if (!rowed(node)) node.y = (node.kids[0].y + node.kids.at(-1).y) / 2;
    }
    this.room = room;
    this.longest = longest;
    const deepest = Math.max(0, ...this.nodes.map((node) => node.x));
    return [deepest + 190, 18 + height * Math.max(1, row) + (this.byTokens ? 24 : 0)];
  }

  draw() {
    const [least, height] = this.layout();
    const won = new Set();
    for (const leaf of this.nodes.filter((node) => node.state === "chosen")) {
      for (let node = leaf; node && !won.has(node); node = node.parent) won.add(node);
    }
    const bad = this.r.ok === false ? " bad" : "";
    const all = [this.root, ...this.nodes];
    const edges = this.nodes.map((node) => svg("path", {
      class: `edge ${node.state}${won.has(node) ? " won" + bad : ""}`, d: this.edge(node) }));
    for (const node of this.nodes) {
      edges.push(...node.sources.filter((from) => from !== node.parent).map((from) => svg("path", {
        class: "edge read", d: `M${from.x} ${from.y}Q${(from.x + node.x) / 2 + 24} ${(from.y + node.y) / 2} ${node.x} ${node.y}` })));
    }
    for (const node of all) node.mark = this.mark(node, bad);
    const labels = this.nodes.filter((node) => !node.kids.length || node.vote).map((node) => this.label(node));
    const ends = (text) => Number(text.getAttribute("x")) + 7 * text.textContent.trimEnd().length;
    const width = labels.reduce((most, text) => Math.max(most, ends(text)), least);
    this.picture = svg("svg", { width, height, role: "tree", "aria-label": "Rollout tree, arrow keys move",
      onkeydown: (event) => this.key(event), onclick: (event) => this.click(event) },
      ...(this.byTokens ? this.ticks(height) : []), ...edges, ...all.map((node) => node.mark), ...labels);
    this.canvas.replaceChildren(this.picture);
    this.here.mark.setAttribute("tabindex", "0");
    this.opened?.mark.classList.add("open");
  }

  edge({ x, y, parent }) {
    if (this.byTokens) return `M${parent.x} ${parent.y}V${y}H${x}`;
    const middle = (parent.x + x) / 2;
    return `M${parent.x} ${parent.y}C${middle} ${parent.y} ${middle} ${y} ${x} ${y}`;
  }

  ticks(height) {
    const rough = this.longest / 4, size = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(1, [1, 2, 5, 10].map((k) => k * size).find((k) => k >= rough));
    const marks = [];
    for (let at = 0; at <= this.longest; at += step) {
      const x = 22 + (at / this.longest) * this.room;
      marks.push(svg("path", { class: "tick", d: `M${x} 0V${height - 20}` }),
        svg("text", { class: "tick-label", x, y: height - 6 }, number(at)));
    }
    return marks;
  }

  mark(node, bad) {
    const group = svg("g", {
      class: `node ${node.state}${node.state === "chosen" ? bad : ""}`, transform: `translate(${node.x} ${node.y})`,
      role: "treeitem", tabindex: "-1", "aria-level": node.depth + 1, "aria-selected": "false",
      "aria-expanded": node.kids.length ? "true" : null, "aria-label": this.spoken(node),
      onfocus: () => this.focused(node), onmouseenter: () => this.opened || this.tell(node),
      onmouseleave: () => this.opened || this.tell(this.here === this.root ? null : this.here),
    }, svg("circle", { class: "hit", r: 12 }), ...shape(node.state));
    const last = node.scores[0]?.[1].at(-1);
    if (last != null && !["cancelled", "failed"].includes(node.state)) {
      const share = Math.round(100 * Math.max(0, Math.min(1, last)));
      group.querySelector(".shape").style.fill = `color-mix(in oklab, var(--high) ${share}%, var(--low))`;
    }
    node.group = group;
    group.tree = node;
    return group;
  }

  label(node) {
    const text = svg("text", { class: "leaf", x: node.x + 15, y: node.y });
    const add = (words, kind) => words && text.append(svg("tspan", { class: kind }, words + "  "));
    if (node.vote) add(brief(node.vote[0] ?? "no answer", 16), "");
    if (node.vote?.[3] != null) add(node.vote[3] ? "✓" : "✗", node.vote[3] ? "right" : "wrong");
    if (!node.vote && node.state !== "grown") add(node.state === "limit" ? "limit" : node.state, "aside");
    const last = node.scores[0]?.[1].at(-1);
    if (last != null) add(score(last), "");
    if (node.winner) add("← the answer", "aside");
    if (node.model) add(brief(node.model, 12), "aside");
    if (!node.kids.length && node.state !== "probe") add(`${number(node.total)} tok`, "aside");
    return text;
  }

  spoken(node) {
    if (node === this.root) return "the question";
    const parts = [`step ${node.depth}, ${STATES.find(([state]) => state === node.state)[1]}`];
    if (node.vote) parts.push(`answer ${node.vote[0] ?? "none"}`);
    if (node.model) parts.push(`model ${node.model}`);
    if (node.scores.length) parts.push(`score ${score(node.scores[0][1].at(-1))}`);
    return [...parts, `${node.tokens} tokens`].join(", ");
  }

  key(event) {
    const { here } = this, siblings = [this.root, ...this.nodes].filter((node) => node.depth === here.depth);
    siblings.sort((a, b) => a.y - b.y);
    const place = siblings.indexOf(here);
    const to = {
      ArrowLeft: here.parent, ArrowRight: here.kids[0], ArrowUp: siblings[place - 1],
      ArrowDown: siblings[place + 1], Home: this.root,
      End: this.nodes.find((node) => node.state === "chosen") ?? this.nodes.at(-1),
    };
    if (event.key in to) {
      event.preventDefault();
      to[event.key]?.mark.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.pin(here);
    }
  }

  click(event) {
    const node = event.target.closest(".node")?.tree;
    if (!node) return;
    node.mark.focus();
    this.pin(node);
  }

  focused(node) {
    this.here.mark.setAttribute("tabindex", "-1");
    node.mark.setAttribute("tabindex", "0");
    this.here = node;
    if (this.opened) this.pin(node);
    else this.tell(node);
  }

  pin(node) {
    for (const other of [this.root, ...this.nodes]) {
      other.mark.classList.toggle("open", other === node);
      other.mark.setAttribute("aria-selected", String(other === node));
    }
    this.opened = node;
    this.tell(node ?? this.here, node !== null);
  }

  tell(node, whole = false) {
    this.detail.classList.toggle("on", Boolean(node));
    if (!node || node === this.root) {
      const lines = "Point at a node, or tap it. Keys: arrows move, Enter opens the whole path, Escape closes.";
      this.detail.replaceChildren(...(whole ? [this.closer()] : []), el("h3", {}, node ? "The question" : "Nodes"), el("p", {}, lines));
      return;
    }
    const path = [];
    for (let at = node; at.parent; at = at.parent) path.unshift(at);
    const steps = (whole ? path : [node]).map((step) => el("div", { class: step === node ? "step here" : "step" },
      el("div", { class: "facts" }, fact(whole ? `step ${step.depth}` : "tokens", whole ? `${number(step.tokens)} tokens` : number(step.tokens)),
        step.model ? fact("model", step.model) : null, step.written ? fact("written by", "the search") : null,
        ...step.scores.map(([name, all]) => fact(name, all.map(score).join(", ")))),
      ...step.said.map(([role, text]) => el("div", { class: "text said" }, el("small", {}, `${role}${step.afresh ? ", anew" : ""}: `), text)),
      step.sources.length ? el("small", {}, "read: " + step.sources.map((from) => this.slots(from)).join(", ")) : null,
      step.text != null ? (whole ? folding(step.text.trim()) : el("div", { class: "text fold", dir: "auto" }, step.text.trim() || "(no text)"))
        : el("small", {}, "its text is not in this page")));
    const state = STATES.find(([name]) => name === node.state)[1];
    this.detail.replaceChildren(...(whole ? [this.closer()] : []),
      el("h3", {}, `${state[0].toUpperCase()}${state.slice(1)}`),
      el("div", { class: "facts" }, fact("path", this.slots(node)), node.winner ? fact("chosen", "its text") : null, fact("tokens so far", number(node.total)),
        node.vote ? fact("answer", node.vote[0] ?? "none") : null, node.vote ? fact("weight", number(node.weight, 3)) : null),
      ...steps);
  }

  slots(node) {
    const found = [];
    for (let at = node; at.parent; at = at.parent) found.unshift(at.slot);
    return found.join(".");
  }

  closer() {
    return el("button", { type: "button", "aria-label": "Close details", onclick: () => this.leave() }, "✕");
  }

  leave() {
    this.pin(null);
    this.here.mark.focus();
  }
}

// ---------------------------------------------------------------- start

$("problem").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view?.opened) {
    event.preventDefault();
    view.leave();
  }
});
$("problem").addEventListener("close", () => history.replaceState(null, "", "#"));

function followLink() {
  const name = decodeURIComponent(location.hash.replace(/^#problem=/, ""));
  const found = location.hash.startsWith("#problem=") ? DATA.problems.findIndex((problem) => problem.id === name) : -1;
  if (found >= 0) open(found);
}

startTheme();
startAxes();
startKey();
startPairs();
startList();
followLink();
addEventListener("hashchange", followLink);
