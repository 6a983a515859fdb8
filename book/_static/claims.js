// The ledger of claims: show the rows that have the chosen verdict, chapter and words, in the chosen order.
document.addEventListener("DOMContentLoaded", () => {
  for (const ledger of document.querySelectorAll(".claims")) {
    const form = ledger.querySelector("form");
    const body = ledger.querySelector("tbody");
    const rows = [...body.querySelectorAll("tr")];
    const verdicts = [...form.elements.verdict.options].map((option) => option.text);
    const orders = {
      "": (row) => rows.indexOf(row),
      verdict: (row) => verdicts.indexOf(row.dataset.verdict),
    };
    const show = () => {
      const { verdict, chapter, words, order } = Object.fromEntries(new FormData(form));
      const wanted = words.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden =
          (verdict && row.dataset.verdict !== verdict) ||
          (chapter && row.dataset.chapter !== chapter) ||
          !wanted.every((word) => text.includes(word));
      }
      body.append(...[...rows].sort((first, second) => orders[order](first) - orders[order](second)));
      form.elements.count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
  }
});
