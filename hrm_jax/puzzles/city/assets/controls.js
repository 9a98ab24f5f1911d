/* What the parts of the page share: elements, keys, files, and drawing anew. */

const at = (id) => document.getElementById(id);
const pictures = new Map(); // canvas -> how it is drawn

/* An element with properties, attributes (`aria-…`, `scope`, `class`) and children. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* Draw a canvas now, and again whenever its size or the page's colours change. `paint` gets a pen. */
function picture(canvas, label, size, paint) {
  canvas.setAttribute("aria-label", label);
  if (!pictures.has(canvas)) resized.observe(canvas);
  pictures.set(canvas, () => { if (canvas.clientWidth) paint(takePen(canvas, size)); });
  pictures.get(canvas)();
}

function redraw() {
  for (const [canvas, paint] of pictures) {
    if (canvas.isConnected) paint();
    else pictures.delete(canvas);
  }
}

const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => pictures.get(target)?.()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

/* A number field's value, kept within its bounds; what is no number is the least. */
function valueOf(input) {
  const [least, most] = [Number(input.min || 0), Number(input.max || Number.MAX_SAFE_INTEGER)];
  const value = Math.min(Math.max(Math.trunc(Number(input.value)) || 0, least), most);
  input.value = value;
  return value;
}

/* Keys that act while a part of the page itself has the focus, or a button in it. */
function keys(section, acts) {
  section.addEventListener("keydown", (event) => {
    const own = event.target === section || event.target.tagName === "BUTTON";
    if (!own || !acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  });
}

/* Select the option that is so many further, around the end. */
function turn(select, by) {
  select.selectedIndex = (select.selectedIndex + by + select.length) % select.length;
  select.dispatchEvent(new Event("change"));
}

/* The rows of a table's body; a cell is text, or [text, attributes]. The first one heads its row. */
function fillTable(table, rows) {
  table.tBodies[0].replaceChildren(...rows.map(({ css = "", cells }) => make("tr", { class: css },
    ...cells.map((cell, i) => {
      const [text, attributes] = Array.isArray(cell) ? cell : [cell, {}];
      return make(i ? "td" : "th", i ? attributes : { scope: "row", ...attributes }, text);
    }))));
}

/* Files from a chooser or dropped on an element. */
function onFile(chooser, place, act) {
  chooser.addEventListener("click", () => { chooser.value = ""; }); // so that a file can be chosen again
  chooser.addEventListener("change", () => { if (chooser.files.length) act(chooser.files[0]); });
  for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    place.addEventListener(type, (event) => {
      event.preventDefault();
      place.classList.toggle("over", over);
      if (type === "drop" && event.dataTransfer.files.length) act(event.dataTransfer.files[0]);
    });
  }
}

/* Say what is wrong; nothing: nothing is. */
function complain(element, message = "") {
  element.textContent = message;
  element.hidden = !message;
}

// A file that misses its place does not take the place of the page.
for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());
document.querySelectorAll("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
