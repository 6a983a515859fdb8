// A slice to explore: a slider for theta, a choice of layers, the overlap of classes, a read-out of each neuron.
// The data stand beside the drawing (nssutils/companion/figures/explorer.py), which is whole without this script.
document.addEventListener("DOMContentLoaded", () => {
  for (const script of document.querySelectorAll("script.explorer"))
    explore(script.closest("figure"), JSON.parse(script.textContent));
});

function explore(figure, { networks, shown }) {
  const drawing = figure.querySelector(".drawing");
  const svg = drawing.querySelector("svg");
  const field = svg.querySelector(".field");
  const box = svg.querySelector("rect");
  const number = (name) => Number(box.getAttribute(name));
  const make = (tag, more) => Object.assign(document.createElement(tag), more);
  const labelled = (text, control) => {
    const label = make("label", { textContent: `${text} ` });
    label.append(control);
    return label;
  };

  const layers = make("select");
  networks.forEach((network, at) => {
    const group = make("optgroup", { label: network.title });
    network.layers.forEach((layer, index) => group.append(new Option(layer.name, `${at} ${index}`)));
    layers.append(group);
  });
  layers.value = `0 ${networks[0].layers.length - 1}`;
  const slider = make("input", { type: "range", min: 0, max: networks[0].slices.length - 1, step: 1 });
  slider.value = shown;
  const [says, reads] = ["explorer-says", "explorer-reads"].map((className) => make("output", { className }));
  const form = make("form", { className: "explorer-controls" });
  form.append(labelled("neurons of", layers), labelled("theta", slider), says, reads);
  form.addEventListener("submit", (event) => event.preventDefault());
  drawing.before(form);
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  mark.setAttribute("class", "explorer-mark");
  svg.append(mark);

  let entries, order, chosen; // of the layer shown: letters by class, neurons in the order drawn, the column read out
  const level = () => Number(slider.value);
  const network = () => networks[Number(layers.value.split(" ")[0])];
  const layer = () => network().layers[Number(layers.value.split(" ")[1])];
  const within = (letter, most = level()) => letter !== "-" && Number(letter) <= most;

  function draw() {
    entries = layer().entries;
    slider.max = network().slices.length - 1;
    const keys = [...entries[0]].map((_, n) => {
      const needed = entries.map((row) => (within(row[n], shown) ? "0" : "1")).join("");
      const late = entries.reduce((sum, row) => sum + (row[n] === "-" ? 10 : Number(row[n])), 0);
      return String(needed.replaceAll("0", "").length).padStart(3, "0") + needed + String(late).padStart(5, "0");
    });
    order = keys.map((_, n) => n).sort((one, other) => (keys[one] < keys[other] ? -1 : keys[one] > keys[other] ? 1 : one - other));
    field.querySelectorAll("path").forEach((path, at) => {
      const cells = entries.map((row, y) => order.map((n, x) => (row[n] === String(at) ? `M${x} ${y}h1v.9h-1z` : "")));
      path.setAttribute("d", cells.flat().join(""));
    });
    const scale = (number("width") / order.length).toFixed(6);
    field.setAttribute("transform", `translate(${number("x")} ${number("y")}) scale(${scale} ${number("height") / entries.length})`);
    read(null);
  }

  function update() {
    const { theta, left_out, accuracy } = network().slices[level()];
    field.querySelectorAll("path").forEach((path, at) => (path.style.display = at > level() ? "none" : ""));
    const sets = entries.map((row) => [...row].map((letter) => within(letter)));
    svg.querySelectorAll(".needed").forEach((text, c) => {
      text.textContent = `${sets[c].filter(Boolean).length} of ${order.length}`;
    });
    figure.querySelectorAll(".overlap tbody tr").forEach((row, c) =>
      row.querySelectorAll("td").forEach((cell, other) => {
        const both = sets[c].filter((is, n) => is && sets[other][n]).length;
        const either = sets[c].filter((is, n) => is || sets[other][n]).length;
        const share = either ? Math.floor((100 * both) / either + 0.5) : 100;
        cell.textContent = share;
        cell.style.setProperty("--share", `${share}%`);
      }),
    );
    const any = order.filter((n) => sets.some((set) => set[n])).length;
    const every = order.filter((n) => sets.every((set) => set[n])).length;
    slider.setAttribute("aria-valuetext", `theta ${theta.toFixed(2)}`);
    says.textContent =
      `theta ${theta.toFixed(2)}: of ${order.length} neurons in ${layer().name}, ${any} are critical for some class and ` +
      `${every} for every class. The slice of all layers leaves out ${left_out} of the parameters; accuracy ${accuracy}.`;
    read(chosen);
  }

  function read(column) {
    chosen = column;
    mark.style.display = column === null ? "none" : "";
    reads.textContent = "Point at a neuron to read it, or use the arrow keys in the picture.";
    if (column === null) return;
    const wide = number("width") / order.length;
    const sizes = { x: number("x") + column * wide, y: number("y"), width: wide, height: number("height") };
    for (const [name, value] of Object.entries(sizes)) mark.setAttribute(name, value);
    const letters = entries.map((row) => row[order[column]]);
    const now = letters.flatMap((letter, c) => (within(letter) ? [c] : []));
    const from = letters.flatMap((letter, c) =>
      letter === "-" ? [] : [`class ${c} from ${network().slices[letter].theta.toFixed(2)}`],
    );
    reads.textContent =
      `Neuron ${order[column]}: critical now for ${now.length ? `class ${now.join(", ")}` : "no class"}` +
      `${from.length ? ` (${from.join(", ")})` : ""}.`;
  }

  layers.addEventListener("change", () => (draw(), update()));
  slider.addEventListener("input", update);
  drawing.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const column = Math.floor(((at.x - number("x")) / number("width")) * order.length);
    read(column >= 0 && column < order.length ? column : null);
  });
  drawing.addEventListener("pointerleave", () => read(null));
  drawing.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return read(null);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    read(chosen === null ? 0 : Math.min(Math.max(chosen + step, 0), order.length - 1));
  });
  draw();
  update();
}
