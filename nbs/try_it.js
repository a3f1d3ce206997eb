// The page in the frame takes the site's theme and as much room as it needs; a picture pasted beside it counts as well.
(() => {
  const frame = document.getElementById("try-it");
  const isDark = () => [document.documentElement, document.body].some((part) => part.classList.contains("quarto-dark"));

  function fit() {
    const inner = frame.contentDocument?.documentElement;
    if (!inner) return;
    Object.assign(inner.dataset, { theme: isDark() ? "dark" : "light", framed: "" });
    frame.style.height = `${inner.offsetHeight + 2}px`;
  }

  function begin() {
    fit();
    new ResizeObserver(fit).observe(frame.contentDocument.body);
  }

  frame.addEventListener("load", begin);
  if (frame.contentDocument?.readyState === "complete" && frame.contentDocument.body.childElementCount) begin();
  const themes = new MutationObserver(fit);
  for (const part of [document.documentElement, document.body]) themes.observe(part, { attributeFilter: ["class"] });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) frame.contentWindow.foodvision?.take(file);
  });
})();
