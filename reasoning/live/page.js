
// ---------------------------------------------------------------- the page of `reasoning watch`
// The server sends sections of entries by name, the whole first and then what changes; null is gone.

STATES.push(["tip", "not continued yet"]);

const sections = new Map();
const section = (name) => sections.get(name) ?? sections.set(name, new Map()).get(name);
const changed = new Set();
let chosen = null, source = null, fresh = true, framed = false, again = 0;

function hear(news) {
  if (fresh) {
    for (const [name, entries] of sections) { entries.clear(); changed.add(name); }
    fresh = false;
  }
  for (const [name, entries] of Object.entries(news)) {
    const known = section(name);
    changed.add(name);
    for (const [key, value] of Object.entries(entries)) {
      if (value === null) known.delete(key);
      else known.set(key, value);
    }
  }
  if (!framed) {
    framed = true;
    requestAnimationFrame(draw);
  }
}

function connect() {
  clearTimeout(again);
  source?.close();
  fresh = true;
  const url = new URL("/events", location.origin);
  if (chosen !== null) url.searchParams.set("search", chosen);
  source = new EventSource(url);
  const mine = source;
  source.onopen = () => { fresh = true; };
  source.onmessage = (event) => { lose(""); hear(JSON.parse(event.data)); };
  source.onerror = () => {
    lose("The connection is lost, and tried again: what is below is what was heard last.");
    if (mine.readyState === EventSource.CLOSED) again = setTimeout(connect, 5000);
  };
}

function lose(why) {
  put($("lost"), why);
  $("lost").hidden = !why;
  if (why) { put($("state"), "lost"); $("state").className = "lost"; changed.add("run"); }
}

function draw() {
  framed = false;
  const parts = { run: drawRun, numbers: drawNumbers, searches: drawSearches, strategies: drawStrategies,
    errors: drawErrors, about: drawAbout, nodes: drawTree };
  for (const [name, part] of Object.entries(parts)) if (changed.has(name)) part(section(name));
  changed.clear();
  announce();
}

const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

// Make the children of `parent` those of `entries`, in their order: old ones stay what they are.
function keep(parent, entries, make, update) {
  const known = (parent.kept ??= new Map());
  for (const [key, node] of known) if (!entries.has(key)) { node.remove(); known.delete(key); }
  let at = parent.firstChild;
  for (const [key, value] of entries) {
    let node = known.get(key);
    if (!node) known.set(key, (node = make(key)));
    if (node.told !== value) { update(node, value, key); node.told = value; }
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

function drawRun(run) {
  put($("title"), run.get("title") ?? "reasoning");
  put($("state"), run.get("state") ?? "");
  $("state").className = run.get("state") ?? "";
  document.title = `${run.get("state") ?? ""} ${run.get("title") ?? "reasoning"}`.trim();
  put($("told"), [run.get("task"), run.get("told")].filter(Boolean).join(" · "));
  put($("command"), run.get("command") ?? "");
  put($("waiting"), run.get("waiting") ?? "");
  $("then").hidden = !run.get("command");
  const notes = run.get("notes") ?? [];
  $("notes").replaceChildren(...notes.map((note) => el("li", {}, note)));
  $("notes-section").hidden = !notes.length;
}

function drawNumbers(numbers) {
  keep($("numbers"), numbers,
    () => el("div", {}, el("dt"), el("dd", { class: "value" }), el("dd", { class: "note" }),
      el("dd", { class: "meter", hidden: true, "aria-hidden": "true" }, el("div"))),
    (node, { label, value, note, share }) => {
      const [name, figure, more, meter] = node.children;
      put(name, label);
      put(figure, value);
      put(more, note ?? "");
      meter.hidden = share === undefined;
      if (share !== undefined) meter.firstChild.style.width = `${100 * share}%`;
    });
}

function drawStrategies(rows) {
  $("strategies-section").hidden = !rows.size;
  keep($("strategies").tBodies[0], rows,
    () => el("tr", {}, el("th", { scope: "row" }), ...Array.from({ length: 5 }, () => el("td", { class: "num" }))),
    (node, { name, done, accuracy, bar, tokens, failed }) => {
      const [head, ...cells] = node.children;
      put(head, name);
      put(cells[0], done); put(cells[1], accuracy); put(cells[3], tokens); put(cells[4], failed);
      cells[2].replaceChildren(...(bar ? [interval(bar)] : []));
    });
}

const interval = ([low, middle, high]) => svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
  svg("rect", { class: "rail", x: 0, y: 4, width: 100, height: 2 }),
  svg("rect", { class: "span", x: 100 * low, y: 2, width: Math.max(0.5, 100 * (high - low)), height: 6 }),
  svg("rect", { class: "mean", x: 100 * middle - 0.7, y: 0, width: 1.4, height: 10 }));

function drawErrors(errors) {
  $("errors-section").hidden = !errors.size;
  keep($("errors"), errors, () => el("li", {}, el("b"), " ", el("span"), el("div", { class: "text", dir: "auto" })),
    (node, { count, example }, kind) => {
      put(node.children[0], kind);
      put(node.children[1], `${count} times`);
      put(node.children[2], example === undefined ? "" : `the first: ${example}`);
    });
}

// ---------------------------------------------------------------- the list of searches

const MARKS = { running: "●", right: "✓", wrong: "✗", failed: "!", ended: "○" };
let pause = 0;

function drawSearches(searches) {
  const order = [...searches].sort(([, a], [, b]) => {
    const [one, two] = [a, b].map((row) => row.state === "running");
    return one !== two ? two - one : one ? a.seq - b.seq : b.seq - a.seq;
  });
  const list = $("searches"), focused = list.contains(document.activeElement);
  keep(list, new Map(order),
    (key) => {
      const node = el("li", { role: "option", tabindex: "-1", onclick: () => choose(key) },
        el("span", { class: "mark", "aria-hidden": "true" }), el("b"), el("small"), el("small"), el("span", { class: "unseen" }));
      node.key = key;
      return node;
    },
    (node, row) => {
      const [mark, name, problem, facts, state] = node.children;
      put(state, row.state);
      put(mark, MARKS[row.state] ?? "○");
      mark.className = `mark ${row.state}`;
      put(name, row.strategy);
      put(problem, row.problem);
      const spent = row.limit ? `${number(row.tokens)} of ${number(row.limit)} tokens` : `${number(row.tokens)} tokens`;
      const running = row.state === "running";
      put(facts, [running ? null : row.state, running && row.nodes !== undefined ? `${number(row.nodes)} nodes` : null,
        row.tokens === undefined ? null : spent, row.failures ? `${number(row.failures)} failures` : null,
        row.answer === undefined ? null : `answer ${row.answer}`].filter(Boolean).join(" · "));
    });
  $("none").hidden = searches.size > 0;
  select();
  if (focused && !list.contains(document.activeElement)) list.querySelector('[tabindex="0"]')?.focus();
}

function select() {
  const wanted = chosen ?? section("about").get("key");
  let found = null;
  for (const node of $("searches").children) {
    const mine = node.key === wanted;
    node.setAttribute("aria-selected", String(mine));
    node.setAttribute("tabindex", mine ? "0" : "-1");
    if (mine) found = node;
  }
  if (found && chosen === null && found !== select.before && !$("searches").contains(document.activeElement)) {
    $("searches").scrollTop = found.offsetTop - $("searches").clientHeight / 2;
  }
  select.before = found;
  if (!found) $("searches").firstChild?.setAttribute("tabindex", "0");
  $("follow").setAttribute("aria-pressed", String(chosen === null));
}

// Whoever goes through the list with the arrow keys asks for the last tree alone.
function choose(key) {
  chosen = key;
  select();
  clearTimeout(pause);
  pause = setTimeout(connect, 120);
}

$("follow").addEventListener("click", () => choose(null));
$("searches").addEventListener("keydown", (event) => {
  const nodes = [...$("searches").children], place = nodes.indexOf(document.activeElement);
  const to = { ArrowUp: place - 1, ArrowDown: place + 1, Home: 0, End: nodes.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    if (!nodes[to]) return;
    choose(nodes[to].key);
    nodes[to].focus();
  } else if (event.key === "Enter" || event.key === " " || event.key === "ArrowRight") {
    event.preventDefault();
    if (event.key !== "ArrowRight" && place >= 0) choose(nodes[place].key);
    view.enter();
  } else if (event.key === "Escape") choose(null);
});

// ---------------------------------------------------------------- one search

function drawAbout(about) {
  for (const place of ["canvas", "legend"]) $(place).classList.toggle("bad", about.get("state") === "wrong");
  const names = { strategy: "strategy", problem: "problem", state: "", stop: "ended", answer: "answer", gold: "gold answer",
    confidence: "confidence", tokens: "tokens", limit: "at most" };
  const told = (name) => typeof about.get(name) === "number" ? number(about.get(name), 3) : String(about.get(name));
  const facts = Object.keys(names).filter((name) => about.has(name)).map((name) =>
    el("span", {}, `${names[name]} `, el("b", { dir: "auto" }, told(name))));
  const question = about.get("question");
  $("about").replaceChildren(
    ...(question ? [el("p", { class: "text question", dir: "auto" }, question)] : []),
    el("div", { class: "facts" }, ...facts),
    ...(about.get("trouble") ? [el("p", { class: "wrong text" }, about.get("trouble"))] : []));
  select();
  drawTree(section("nodes"));
}

class LiveTree {
  constructor() {
    this.nodes = new Map();
    this.here = "";
    this.pinned = null;
    this.hovered = null;
    this.edges = svg("g");
    this.marks = svg("g");
    this.labels = svg("g", { "aria-hidden": "true" });
    this.decided = false; // whether an answer was chosen
    this.picture = svg("svg", { role: "tree", "aria-label": "Rollout tree, arrow keys move, Enter opens the path, Escape closes",
      onkeydown: (event) => this.key(event), onclick: (event) => this.click(event),
      onpointerover: (event) => this.hover(event.target.closest(".node")), onpointerleave: () => this.hover(null) },
      this.edges, this.marks, this.labels);
    $("canvas").append(this.picture);
    this.root = this.make("");
    this.place();
    this.tell();
  }

  make(path) {
    const cut = path.lastIndexOf(".");
    const node = { path, up: path === "" ? null : cut < 0 ? "" : path.slice(0, cut), slot: Number(path.slice(cut + 1)),
      depth: path === "" ? 0 : path.split(".").length, kids: [], entry: null, x: 0, y: 0 };
    node.mark = svg("g", { class: "node root", role: "treeitem", tabindex: path === "" ? "0" : "-1", "aria-level": node.depth + 1,
      onfocus: () => this.focused(node) }, svg("circle", { class: "hit", r: 12 }));
    node.mark.node = node;
    this.marks.append(node.mark);
    if (path === "") {
      node.mark.append(...shape("root"));
      node.mark.setAttribute("aria-label", "the question");
    } else {
      node.edge = svg("path");
      this.edges.append(node.edge);
    }
    this.nodes.set(path, node);
    return node;
  }

  drop(node) {
    node.mark.remove();
    node.edge.remove();
    node.label?.remove();
    this.nodes.delete(node.path);
  }

  // Take in what there is now; what has not changed stays as it is.
  show(entries) {
    this.decided = [...entries.values()].some((entry) => entry.s === "chosen");
    for (const node of [...this.nodes.values()]) {
      if (node.path !== "" && !entries.has(node.path)) this.drop(node);
      else node.kids = [];
    }
    if (!this.nodes.has(this.here)) this.here = "";
    if (!this.nodes.has(this.pinned)) this.pinned = null;
    for (const [path, entry] of entries) {
      const node = this.nodes.get(path) ?? this.make(path);
      if (node.entry !== entry) this.dress(node, entry);
    }
    for (const node of this.nodes.values()) this.nodes.get(node.up)?.kids.push(node);
    this.place();
    this.roving();
    this.tell();
  }

  dress(node, entry) {
    node.entry = entry;
    const group = node.mark, state = STATES.some(([name]) => name === entry.s) ? entry.s : "tip";
    group.setAttribute("class", `node ${state}`);
    group.setAttribute("aria-label", this.spoken(node));
    group.replaceChildren(group.firstChild, ...shape(state));
    if (entry.v !== undefined && !["cancelled", "failed"].includes(state)) {
      const share = Math.round(100 * Math.max(0, Math.min(1, entry.v)));
      group.querySelector(".shape").style.fill = `color-mix(in oklab, var(--high) ${share}%, var(--low))`;
    }
    node.edge.setAttribute("class", `edge ${state}`);
    node.label?.remove();
    node.label = null;
  }

  // Across by steps; where all stand side by side, by tokens.
  place() {
    const order = [], stack = [this.root];
    while (stack.length) {
      const node = stack.pop();
      order.push(node);
      node.kids.sort((a, b) => a.slot - b.slot);
      for (let i = node.kids.length - 1; i >= 0; i--) stack.push(node.kids[i]);
    }
    const flat = order.every((node) => node.depth < 2);
    const longest = Math.max(1, ...order.map((node) => node.entry?.n ?? 0));
    const room = Math.max(120, $("canvas").clientWidth - 204);
    const rowed = (node) => !node.kids.length || node.entry?.a !== undefined;
    const height = order.filter(rowed).length > 40 ? 19 : 24;
    let row = 0;
    for (const node of order) {
      node.x = 22 + (flat ? ((node.entry?.n ?? 0) / longest) * room : node.depth * 46);
      if (rowed(node)) node.y = 18 + height * row++;
    }
    for (const node of [...order].reverse()) {
      if (!rowed(node)) node.y = (node.kids[0].y + node.kids.at(-1).y) / 2;
    }
    const deepest = Math.max(...order.map((node) => node.x));
    for (const node of order) this.move(node);
    this.picture.setAttribute("width", deepest + 175);
    this.picture.setAttribute("height", Math.max(60, 18 + height * row));
  }

  move(node) {
    const at = `translate(${node.x.toFixed(1)}px, ${node.y.toFixed(1)}px)`;
    if (node.at !== at) node.mark.style.transform = node.at = at;
    if (!node.edge) return;
    const up = this.nodes.get(node.up) ?? this.root, middle = (up.x + node.x) / 2;
    const d = `M${up.x} ${up.y}C${middle} ${up.y} ${middle} ${node.y} ${node.x} ${node.y}`;
    if (node.d !== d) node.edge.setAttribute("d", (node.d = d));
    const labelled = !node.kids.length || node.entry.a !== undefined;
    if (!labelled) {
      node.label?.remove();
      node.label = null;
      return;
    }
    if (!node.label) this.labels.append((node.label = this.label(node)));
    node.label.setAttribute("x", node.x + 15);
    node.label.setAttribute("y", node.y);
  }

  label({ entry }) {
    const text = svg("text", { class: "leaf" });
    const add = (words, kind) => words && text.append(svg("tspan", { class: kind }, words + "  "));
    if (entry.a !== undefined) add(brief(entry.a, 16), "");
    if (["limit", "cut", "cancelled", "failed", "ended", "written", "probe"].includes(entry.s)) add(entry.s, "aside");
    if (entry.v !== undefined && entry.v !== null) add(score(entry.v), "");
    if (entry.w) add("← the answer", "aside");
    if (entry.s !== "probe") add(`${number(entry.n)} tok`, "aside");
    return text;
  }

  spoken({ depth, entry }) {
    const parts = [`step ${depth}, ${words(entry.s)}`];
    if (entry.a !== undefined) parts.push(`answer ${entry.a}`);
    if (entry.v !== undefined && entry.v !== null) parts.push(`score ${score(entry.v)}`);
    return [...parts, `${number(entry.n)} tokens`].join(", ");
  }

  roving() {
    for (const node of this.nodes.values()) {
      const tab = node.path === this.here ? "0" : "-1";
      if (node.mark.getAttribute("tabindex") !== tab) node.mark.setAttribute("tabindex", tab);
      node.mark.classList.toggle("here", node.path === this.pinned);
    }
  }

  enter() { this.nodes.get(this.here).mark.focus(); }

  focused(node) {
    this.here = node.path;
    if (this.pinned !== null) this.pinned = node.path;
    this.roving();
    this.tell();
  }

  hover(mark) {
    const path = mark?.node.path ?? null;
    if (path === this.hovered) return;
    this.hovered = path;
    this.tell();
  }

  click(event) {
    const node = event.target.closest(".node")?.node;
    if (!node) return;
    this.pinned = node.path;
    node.mark.focus();
    this.focused(node);
  }

  key(event) {
    const here = this.nodes.get(this.here);
    const level = [...this.nodes.values()].filter((node) => node.depth === here.depth).sort((a, b) => a.y - b.y);
    const place = level.indexOf(here);
    const to = { ArrowLeft: this.nodes.get(here.up), ArrowRight: here.kids[0], ArrowUp: level[place - 1],
      ArrowDown: level[place + 1], Home: this.root };
    if (event.key in to) {
      event.preventDefault();
      to[event.key]?.mark.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.pinned = here.path;
      this.focused(here);
    } else if (event.key === "Escape") {
      if (this.pinned === null) $("searches").querySelector('[tabindex="0"]')?.focus();
      this.pinned = null;
      this.roving();
      this.tell();
    }
  }

  // What is said of the node that is open, pointed at, or in focus.
  tell() {
    const focused = this.picture.contains(document.activeElement) ? this.here : null;
    const path = this.pinned ?? this.hovered ?? focused;
    const node = path === null ? null : this.nodes.get(path);
    $("detail").classList.toggle("on", this.pinned !== null);
    if (this.said === node && this.saidOf === (node?.entry ?? null) && this.saidWhole === this.pinned) return;
    [this.said, this.saidOf, this.saidWhole] = [node, node?.entry ?? null, this.pinned];
    if (!node || node.path === "") {
      $("detail").replaceChildren(el("h3", {}, node ? "The question" : "Nodes"),
        el("p", {}, "Point at a node, or tap it. Keys: arrows move, Enter opens the whole path, Escape closes."));
      return;
    }
    const path_ = [];
    for (let at = node; at && at.path !== ""; at = this.nodes.get(at.up)) path_.unshift(at);
    const { entry } = node, shown = this.pinned === null ? [node] : path_;
    $("detail").replaceChildren(
      ...(this.pinned === null ? [] : [el("button", { type: "button", "aria-label": "Close details", onclick: () => this.close() }, "✕")]),
      el("h3", {}, words(entry.s).replace(/^./, (first) => first.toUpperCase())),
      el("div", { class: "facts" }, fact("path", node.path), entry.a === undefined ? null : fact("answer", entry.a)),
      ...shown.map((step) => el("div", { class: step === node ? "step here" : "step" },
        el("div", { class: "facts" }, fact(`step ${step.depth}`, `${number(step.entry.n)} tokens`),
          step.entry.v === undefined || step.entry.v === null ? null : fact("score", score(step.entry.v)),
          step.entry.m === undefined ? null : fact("model", step.entry.m)),
        step.entry.t === undefined ? el("small", {}, "texts are not shown here")
          : el("div", { class: "text", dir: "auto" }, step.entry.t.trim() || "(no text)"))));
  }

  close() {
    this.pinned = null;
    this.roving();
    this.enter();
    this.tell();
  }
}

const words = (state) => state === "candidate" && !view.decided ? state
  : STATES.find(([name]) => name === state)?.[1] ?? String(state);
const fact = (name, value) => el("span", {}, `${name} `, el("b", { dir: "auto" }, String(value)));

function drawTree(entries) {
  const key = section("about").get("key") ?? null;
  if (view.shown !== key) {
    view.show(new Map());
    view.pinned = view.hovered = null;
    view.here = "";
    view.shown = key;
  }
  view.show(entries);
  const more = (section("about").get("size") ?? 0) - entries.size;
  put($("more"), more > 0 ? `${number(more)} more nodes, deeper in the tree or later, are not drawn.` : "");
  const present = new Set([...entries.values()].map((entry) => entry.s));
  const scored = [...entries.values()].some((entry) => entry.v !== undefined);
  const wanted = STATES.filter(([state]) => present.has(state));
  const told = [...wanted.map(([state]) => state), scored, view.decided].join();
  if ($("legend").told === told) return;
  $("legend").told = told;
  $("legend").replaceChildren(...wanted.map(([state]) => el("li", {},
    svg("svg", { width: 22, height: 18, "aria-hidden": "true" }, svg("g", { class: `node ${state}`, transform: "translate(10 9)" }, ...shape(state))), words(state))),
    ...(scored ? [el("li", {}, "score 0 ", el("span", { class: "scale" }), " 1")] : []));
}

// ---------------------------------------------------------------- said aloud, seldom

let saidState = null, saidAt = 0;

function announce() {
  const run = section("run"), done = section("numbers").get("problems");
  const state = run.get("state");
  if (state === undefined || (state === saidState && Date.now() - saidAt < 30000)) return;
  const text = [run.get("told"), done && `${done.label}: ${done.value} ${done.note ?? ""}`].filter(Boolean).join(". ");
  put($("said"), text);
  [saidState, saidAt] = [state, Date.now()];
}

const view = new LiveTree();
addEventListener("resize", () => { changed.add("nodes"); if (!framed) { framed = true; requestAnimationFrame(draw); } });
startTheme();
connect();
