// The page of `ppdet serve`: sends images to /predict and draws what it answers.

const LOWEST = 0.01; // asked for once; the slider hides what is below it
const SVG = "http://www.w3.org/2000/svg";
const STAGES = { decode: "decode, resize", queue: "wait", network: "network, NMS", other: "transfer, browser" };

const $ = (id) => document.getElementById(id);
const hidden = new Set(); // names of classes that are switched off
let model = null;
let shots = []; // { file, url, image, times, batch, roundTrip }
let shot = null;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function headers(more = {}) {
  const token = sessionStorage.getItem("token");
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const colorsOf = (id) => model?.classes[id] ?? { color: "#7c9cff", text_color: "#000000" };

function fail(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

async function reasonOf(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered with ${answer.status}`;
  }
}

// ------------------------------------------------------------------------------------ the model
async function connect() {
  let answer;
  try {
    answer = await fetch("/model", { headers: headers() });
  } catch {
    return waiting("not reachable", true);
  }
  $("token-card").hidden = answer.status !== 401;
  if (answer.status === 401) return show_state("token needed", "failed");
  if (!answer.ok) return waiting(await reasonOf(answer), false);
  model = await answer.json();
  const size = model.input_size ? `${model.input_size[1]} × ${model.input_size[0]}` : "any size";
  $("model").textContent = model.name;
  $("facts").textContent = `${model.classes.length} classes, ${size}, ${model.engine} on ${model.device}`;
  document.title = `${model.name}, ppdet serve`;
  $("threshold").value = model.threshold;
  show_state("ready", "ready");
  render();
}

function show_state(text, kind) {
  $("state").textContent = text;
  $("state").className = `state ${kind}`;
}

function waiting(text, failed) {
  show_state(text, failed ? "failed" : "");
  setTimeout(connect, 1000);
}

// ----------------------------------------------------------------------------------- the images
async function send(files) {
  fail("");
  const images = [...files];
  if (!images.length) return;
  $("busy").hidden = false;
  const made = [];
  for (const file of images) {
    // A request for each: one file that is no image must not refuse the others.
    const start = performance.now();
    try {
      const answer = await fetch(`/predict?threshold=${LOWEST}`, {
        method: "POST",
        body: file,
        headers: headers({ "Content-Type": file.type || "application/octet-stream" }),
      });
      if (answer.status === 401) connect();
      if (!answer.ok) throw new Error(await reasonOf(answer));
      const { images: [image], times_ms: times, batch } = await answer.json();
      const roundTrip = performance.now() - start;
      made.push({ file, url: URL.createObjectURL(file), image, times, batch, roundTrip });
    } catch (error) {
      fail(`${file.name}: ${error.message.replace(/^body: /, "")}`);
    }
  }
  $("busy").hidden = true;
  if (!made.length) return;
  shots = [...made, ...shots];
  for (const old of shots.splice(24)) URL.revokeObjectURL(old.url);
  choose(made[0]);
}

function choose(one) {
  shot = one;
  $("image").src = one.url;
  $("image").alt = one.file.name;
  $("view").style.setProperty("--ratio", one.image.width / one.image.height);
  $("view").hidden = false;
  $("drop").classList.add("small");
  $("strip").hidden = shots.length < 2;
  $("strip").replaceChildren(
    ...shots.map((other) =>
      element(
        "button",
        { className: other === one ? "chosen" : "", title: other.file.name, onclick: () => choose(other) },
        element("img", { src: other.url, alt: other.file.name }),
      ),
    ),
  );
  for (const id of ["classes-card", "times-card", "list-card"]) $(id).hidden = false;
  render();
  renderTimes();
}

// ----------------------------------------------------------------------------------- what it shows
const threshold = () => Number($("threshold").value);
const isShown = (found) => found.score >= threshold() && !hidden.has(found.class_name);

function render() {
  $("score").textContent = threshold().toFixed(2);
  if (!shot) return;
  const shown = shot.image.detections.filter(isShown);
  const all = shot.image.detections.length;
  $("shown").textContent = `${shown.length} of ${all} detections on ${shot.image.width} × ${shot.image.height}`;
  renderBoxes(shown);
  renderClasses();
  renderList(shown);
}

function renderBoxes(shown) {
  const { width, height } = shot.image;
  $("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const unit = width / ($("image").clientWidth || width); // image pixels per pixel of the screen
  const labels = [];
  for (const found of shown) labels.push(placeLabel(found, unit, labels));
  const parts = shown.map((found, i) => partsOf(found, labels[i], unit)).reverse(); // the best on top
  $("boxes").replaceChildren(...parts.map(([box]) => box), ...parts.map(([, label]) => label));
}

const measure = document.createElement("canvas").getContext("2d");

function overlap(a, b) {
  const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(wide, 0) * Math.max(high, 0);
}

// The first of its places in the image that hides no label of a better detection.
function placeLabel(found, unit, others) {
  const [x1, y1, x2, y2] = found.box;
  const text = `${found.class_name} ${found.score.toFixed(2)}`;
  measure.font = `600 12.5px ${getComputedStyle(document.body).fontFamily}`;
  const size = { width: (measure.measureText(text).width + 12) * unit, height: 20 * unit };
  const corners = [[x1, y1 - size.height], [x1, y1], [x1, y2], [x1, y2 - size.height], [x2 - size.width, y1 - size.height]];
  if (corners[0][1] < 0) corners.push(corners.shift());
  const within = (value, most) => Math.min(Math.max(value, 0), Math.max(most, 0));
  const places = corners.map(([x, y]) => ({
    ...size,
    text,
    x: within(x, shot.image.width - size.width),
    y: within(y, shot.image.height - size.height),
  }));
  const hidden = places.map((place) => others.reduce((sum, other) => sum + overlap(place, other), 0));
  return places[hidden.indexOf(Math.min(...hidden))];
}

// The box and the label of a detection.
function partsOf(found, { text, ...area }, unit) {
  const [x1, y1, x2, y2] = found.box;
  const { color, text_color } = colorsOf(found.class_id);
  const size = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) };
  const box = svg("rect", { ...size, class: "box", stroke: color });
  const x = area.x + 6 * unit;
  const y = area.y + area.height / 2;
  const words = svg("text", { x, y, fill: text_color, "font-size": 12.5 * unit });
  words.textContent = text;
  const label = svg("g", { "data-class": found.class_name, "data-score": found.score });
  label.append(svg("rect", { ...area, rx: 4 * unit, fill: color }), words);
  found.parts = [box, label];
  return found.parts;
}

function renderClasses() {
  const counts = new Map();
  for (const found of shot.image.detections) {
    const one = counts.get(found.class_name) ?? { id: found.class_id, above: 0, best: found.score };
    one.above += found.score >= threshold();
    counts.set(found.class_name, one);
  }
  // Those that were only guessed at far below the slider would fill the card.
  const listed = [...counts].filter(([name, one]) => one.above || hidden.has(name) || one.best >= 0.1);
  $("classes").replaceChildren(
    ...listed.map(([name, one]) => {
      const dot = element("i");
      dot.style.background = colorsOf(one.id).color;
      const chip = element("button", { className: one.above ? "chip" : "chip unseen", onclick: () => toggle(name) }, dot, name);
      chip.append(element("b", { textContent: one.above }));
      chip.setAttribute("aria-pressed", String(!hidden.has(name)));
      return chip;
    }),
  );
}

function toggle(name) {
  hidden.has(name) ? hidden.delete(name) : hidden.add(name);
  render();
}

function renderList(shown) {
  $("list").replaceChildren(
    ...shown.map((found) => {
      const dot = element("i");
      dot.style.background = colorsOf(found.class_id).color;
      const filled = element("span");
      filled.style.width = `${100 * found.score}%`;
      filled.style.background = colorsOf(found.class_id).color;
      const meter = element("div", { className: "meter" }, filled);
      const score = element("b", { textContent: found.score.toFixed(2) });
      const row = element("li", { title: found.box.map(Math.round).join(", ") }, dot, found.class_name, meter, score);
      row.onmouseenter = () => fade(shown, found);
      row.onmouseleave = () => fade(shown, null);
      return row;
    }),
  );
}

function fade(shown, one) {
  for (const found of shown) {
    for (const part of found.parts) part.classList.toggle("faded", one !== null && found !== one);
  }
}

function renderTimes() {
  const { times, roundTrip, batch } = shot;
  const known = times.decode + times.queue + times.network;
  const parts = { ...times, other: Math.max(roundTrip - known, 0) };
  const all = Object.keys(STAGES).reduce((sum, stage) => sum + parts[stage], 0);
  $("total").textContent = milliseconds(roundTrip);
  const bars = [];
  const rows = [];
  for (const [stage, name] of Object.entries(STAGES)) {
    const bar = element("span", { className: stage, title: name });
    bar.style.width = `${(100 * parts[stage]) / all}%`;
    bars.push(bar);
    rows.push(element("dt", { className: stage, textContent: name }));
    rows.push(element("dd", { textContent: milliseconds(parts[stage]) }));
  }
  rows.push(element("dt", { textContent: "images in its run" }), element("dd", { textContent: batch }));
  $("bar").replaceChildren(...bars);
  $("times").replaceChildren(...rows);
}

// -------------------------------------------------------------------------------------- results
function save(blob, suffix) {
  const name = shot.file.name.replace(/\.[^.]*$/, "") + suffix;
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

$("json").onclick = () => {
  const detections = shot.image.detections.filter(isShown).map(({ parts, ...found }) => found);
  const text = JSON.stringify({ ...shot.image, name: shot.file.name, detections }, null, 1);
  save(new Blob([text], { type: "application/json" }), ".json");
};

$("drawn").onclick = async () => {
  const more = { Accept: "image/png", "Content-Type": "application/octet-stream" };
  const answer = await fetch(`/predict?threshold=${threshold()}`, {
    method: "POST",
    body: shot.file,
    headers: headers(more),
  });
  if (answer.ok) save(await answer.blob(), "_boxes.png");
  else fail(await reasonOf(answer));
};

// --------------------------------------------------------------------------------------- events
$("threshold").oninput = render;
$("all").onclick = () => { hidden.clear(); render(); };
$("none").onclick = () => {
  for (const found of shot.image.detections) hidden.add(found.class_name);
  render();
};
$("image").onload = render;
new ResizeObserver(() => shot && renderBoxes(shot.image.detections.filter(isShown))).observe($("image"));
$("file").onchange = () => { send($("file").files); $("file").value = ""; };
$("drop").onkeydown = (event) => {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); $("file").click(); }
};
$("token-card").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  connect();
};
document.onpaste = (event) => send(event.clipboardData.files);
document.ondragover = (event) => { event.preventDefault(); $("stage").classList.add("over"); };
document.ondragleave = (event) => { if (!event.relatedTarget) $("stage").classList.remove("over"); };
document.ondrop = (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  send(event.dataTransfer.files);
};

connect();
