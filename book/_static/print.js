// On paper the page is light, whatever the reader's theme.
const root = document.documentElement;
let before = null;
addEventListener("beforeprint", () => {
  before = root.dataset.theme;
  root.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  if (before) root.dataset.theme = before;
});
