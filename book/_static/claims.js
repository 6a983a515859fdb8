// The ledger of claims: show the rows that have the chosen verdict, chapter and words.
document.addEventListener("DOMContentLoaded", () => {
  for (const ledger of document.querySelectorAll(".claims")) {
    const form = ledger.querySelector("form");
    const rows = [...ledger.querySelectorAll("tbody tr")];
    const filter = () => {
      const { verdict, chapter, words } = Object.fromEntries(new FormData(form));
      const wanted = words.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden =
          (verdict && row.dataset.verdict !== verdict) ||
          (chapter && row.dataset.chapter !== chapter) ||
          !wanted.every((word) => text.includes(word));
      }
      form.elements.count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
  }
});
