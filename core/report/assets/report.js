"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ink = () => getComputedStyle(document.body).color;
  const blocks = [...document.querySelectorAll("script[data-chart]")];
  const narrow = () => innerWidth < 600;
  const draw = () => {
    for (const block of blocks) {
      const figure = JSON.parse(block.textContent), place = document.getElementById(block.dataset.chart);
      figure.layout.font = { color: ink(), family: getComputedStyle(document.body).fontFamily, size: narrow() ? 10 : 12 };
      if (figure.layout.yaxis.ticktext && narrow()) {
        figure.layout.yaxis.ticktext = figure.layout.yaxis.ticktext.map((t) => (t.length > 24 ? t.slice(0, 23) + "…" : t));
      }
      Plotly.react(place, figure.data, figure.layout, { displaylogo: false, responsive: true });
    }
    document.documentElement.dataset.drawn = String(blocks.length);
  };
  draw();
  dark.addEventListener("change", draw);
  // Words that were set before their letters had loaded are set again.
  Promise.all([...document.fonts].map((face) => face.load())).then(() => {
    if (document.fonts.size) {
      document.body.style.fontFamily = `${getComputedStyle(document.body).fontFamily}, serif`;
      draw();
    }
    document.documentElement.dataset.faces = String(document.fonts.size);
  });

  const units = { ms: 1, s: 1e3, min: 6e4, h: 3.6e6 };
  const number = (text) => {
    const found = /^\$?(-?[\d,]*\.?\d+(?:e[-+]?\d+)?)\s*(ms|min|s|h)?(?![a-z])/i.exec(text);
    return found ? parseFloat(found[1].replaceAll(",", "")) * (units[found[2]] ?? 1) : NaN;
  };
  for (const head of document.querySelectorAll("th")) {
    head.tabIndex = 0;
    head.title = "Sort";
    const sort = () => {
      const body = head.closest("table").tBodies[0], column = head.cellIndex;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent;
      const numeric = head.classList.contains("right");
      const compare = (a, b) => {
        if (!numeric) return text(a).localeCompare(text(b));
        const [x, y] = [number(text(a)), number(text(b))];
        return (Number.isNaN(x) ? Infinity : x) - (Number.isNaN(y) ? Infinity : y) || 0;
      };
      const rows = [...body.rows].sort(compare);
      body.append(...(up ? rows : rows.reverse()));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  }
})();
