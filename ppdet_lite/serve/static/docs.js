// Shows /openapi.json; nothing is loaded from other sites.

const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

const cell = (content) => element("td", {}, content ?? "");
const code = (text) => element("code", { textContent: text });

function table(head, rows) {
  const top = element("tr", {}, ...head.map((text) => element("th", { textContent: text })));
  return element("table", {}, top, ...rows.map((cells) => element("tr", {}, ...cells.map(cell))));
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.format === "binary" ? "file" : schema.type ?? "object";
}

function bodyRows(content) {
  return Object.entries(content).map(([kind, { schema }]) => [
    code(kind),
    schema.description ?? typeOf(schema),
  ]);
}

function operation(method, path, about) {
  const made = element("details", { open: path === "/predict" });
  const badge = element("span", { className: `method ${method}`, textContent: method.toUpperCase() });
  const text = (about.description ?? about.summary ?? "").split("\n")[0];
  made.append(element("summary", {}, badge, code(path), element("span", { className: "faint", textContent: text })));
  if (about.parameters?.length) {
    const rows = about.parameters.map((one) => [code(one.name), one.in, typeOf(one.schema), one.description]);
    made.append(element("h3", { textContent: "Parameters" }), table(["name", "in", "type", ""], rows));
  }
  if (about.requestBody) {
    const rows = bodyRows(about.requestBody.content);
    made.append(element("h3", { textContent: "Body" }), table(["Content-Type", ""], rows));
  }
  const rows = Object.entries(about.responses).map(([status, one]) => {
    const kinds = Object.entries(one.content ?? {});
    const shown = kinds.map(([kind, { schema }]) => `${kind} ${typeOf(schema)}`.trim());
    return [code(status), one.description, shown.join(", ")];
  });
  made.append(element("h3", { textContent: "Answers" }), table(["status", "", "type"], rows));
  return made;
}

function schema(name, about) {
  const rows = Object.entries(about.properties ?? {}).map(([key, one]) => {
    const example = one.examples ? `e.g. ${JSON.stringify(one.examples[0])}` : "";
    return [code(key), typeOf(one), [one.description, example].filter(Boolean).join("; ")];
  });
  const made = element("details");
  made.append(
    element("summary", {}, code(name), element("span", { className: "faint", textContent: about.description ?? "" })),
    table(["key", "type", ""], rows),
  );
  return made;
}

const api = await (await fetch("/openapi.json")).json();
$("title").textContent = `${api.info.title} ${api.info.version}`;
for (const block of api.info.description.trim().split("\n\n")) {
  const isCode = block.startsWith("    ");
  const text = isCode ? block.replace(/^ {4}/gm, "").replaceAll("http://127.0.0.1:8000", location.origin) : block;
  // Every second piece between backquotes is code.
  const parts = isCode ? [text] : text.split("`").map((part, i) => (i % 2 ? code(part) : part));
  $("intro").append(element(isCode ? "pre" : "p", {}, ...parts));
}
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, about] of Object.entries(methods)) $("paths").append(operation(method, path, about));
}
for (const [name, about] of Object.entries(api.components?.schemas ?? {})) {
  if (!/HTTPValidationError|ValidationError/.test(name)) $("schemas").append(schema(name, about));
}
