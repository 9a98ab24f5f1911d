/* What the page does apart from its players: tables that scroll say so, and charts are as wide as their labels. */

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* A table that is wider than the page says that it scrolls, and takes the focus; others need neither. */
function watchTable(region) {
  const hint = make("p", { class: "hint", "aria-hidden": "true" }, "Scroll sideways for more \u2192");
  const update = () => {
    const scrolls = region.scrollWidth > region.clientWidth + 1;
    if (scrolls) region.setAttribute("tabindex", 0);
    else region.removeAttribute("tabindex");
    hint.hidden = !scrolls || region.scrollLeft + region.clientWidth > region.scrollWidth - 2;
  };
  region.before(hint);
  region.addEventListener("scroll", update);
  new ResizeObserver(update).observe(region);
}

/* All charts of a figure as wide as the longest of their labels, in the reader's own fonts. */
function fitCharts(panels) {
  const charts = [...panels.querySelectorAll(".chart")];
  const edges = charts.flatMap((chart) =>
    [...chart.querySelectorAll(".label")].map((label) => Number(label.getAttribute("x")) + label.getComputedTextLength()));
  const width = Math.ceil(Math.max(...edges) + 3);
  if (!(width > 0)) return;
  for (const chart of charts) {
    chart.setAttribute("viewBox", `0 0 ${width} ${chart.viewBox.baseVal.height}`);
    chart.setAttribute("width", width);
    chart.style.maxWidth = `${width}px`;
  }
}

document.querySelectorAll(".scroll").forEach(watchTable);
document.querySelectorAll(".panels").forEach(fitCharts);
