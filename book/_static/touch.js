// Figures of curves that answer: switches for what is shown, and a read-out of the point nearest the pointer.
// The data stand beside the SVG (nssutils/companion/figures/touch.py). Without this script the figure is whole.
document.addEventListener("DOMContentLoaded", () => {
  for (const script of document.querySelectorAll("script.touch")) touch(script.parentElement, JSON.parse(script.textContent));
});

function touch(figure, { curves, panels }) {
  const svg = figure.querySelector("svg");
  const drawing = figure.querySelector(".drawing");
  const prefix = figure.id;
  const parts = (curve) => svg.querySelectorAll(`[id="${prefix}-${curve.id}"]`);
  const whole = svg.getAttribute("viewBox");
  const hidden = { selection: new Set(), metric: new Set() };
  let only = ""; // the setting whose panel fills the figure; "" for all of them
  const shown = (curve) =>
    (!only || curve.setting === only) && Object.keys(hidden).every((kind) => !hidden[kind].has(curve[kind]));

  const form = document.createElement("form");
  form.className = "touch-switches";
  const panel = document.createElement("select");
  panel.add(new Option("all", ""));
  for (const name of Object.keys(panels)) panel.add(new Option(name));
  panel.addEventListener("change", () => {
    only = panel.value;
    const box = only ? panels[only].join(" ") : whole;
    const [, , width, height] = box.split(" ");
    svg.setAttribute("viewBox", box);
    svg.style.cssText = only ? `aspect-ratio: ${width} / ${height}; width: min(100%, 36rem)` : "";
    read(null);
  });
  const one = document.createElement("label");
  one.append("setting ", panel);
  form.append(one);
  for (const kind of ["selection", "metric"]) {
    const values = [...new Set(curves.map((curve) => curve[kind]))].filter(Boolean);
    const set = document.createElement("fieldset");
    set.append(Object.assign(document.createElement("legend"), { textContent: kind }));
    for (const value of values) {
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        hidden[kind][box.checked ? "delete" : "add"](value);
        for (const curve of curves) for (const part of parts(curve)) part.style.display = shown(curve) ? "" : "none";
        read(null);
      });
      // An enlarged panel has lost the figure's legend.
      if (kind === "selection")
        box.style.accentColor = getComputedStyle(parts(curves.find((curve) => curve[kind] === value))[0].querySelector("path")).stroke;
      const label = document.createElement("label");
      label.append(box, ` ${value}`);
      set.append(label);
    }
    form.append(set);
  }
  const says = Object.assign(document.createElement("output"), { className: "touch-says" });
  says.textContent = "Point at a curve to read it, or use the arrow keys in the figure.";
  form.append(says);
  drawing.before(form);

  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("r", 6);
  ring.setAttribute("class", "touch-ring");
  svg.append(ring);
  let now = null; // [curve, index of the point]

  function read(point) {
    now = point;
    ring.style.display = point ? "" : "none";
    for (const curve of curves)
      for (const part of parts(curve)) part.style.opacity = !point || curve === point[0] ? "" : 0.25;
    if (!point) return;
    const [curve, index] = point;
    const [x, y, at, rate, accuracy] = curve.points[index];
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    const how = curve.selection === "semantic" ? `theta ${at}` : `top ${Math.round(100 * at)}%`;
    says.textContent =
      `${curve.setting}, ${[curve.selection, curve.metric].filter(Boolean).join(", ")}, ${how}: ` +
      `${rate.toFixed(2)}% left out, accuracy ${accuracy.toFixed(2)}%`;
  }
  read(null);

  drawing.addEventListener("pointermove", (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = null;
    let least = 20;
    for (const curve of curves.filter(shown))
      curve.points.forEach((point, index) => {
        const far = Math.hypot(point[0] - x, point[1] - y);
        if (far < least) [best, least] = [[curve, index], far];
      });
    read(best);
  });
  drawing.addEventListener("pointerleave", () => read(null));
  drawing.addEventListener("keydown", (event) => {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const across = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") return read(null);
    if (!along && !across) return;
    event.preventDefault();
    const there = curves.filter(shown);
    if (!there.length) return;
    if (!now) return read([there[0], 0]);
    const [curve, index] = now;
    const next = across ? there[(there.indexOf(curve) + across + there.length) % there.length] : curve;
    read([next, Math.min(Math.max(index + (along || 0), 0), next.points.length - 1)]);
  });
}
