// Two courtesies around the live figures: say when they may be old, and keep a table where the reader scrolled it.
(() => {
  "use strict";
  const stale = (is) => {
    const banner = document.getElementById("stale");
    if (banner) banner.hidden = !is;
  };
  document.addEventListener("htmx:sendError", () => stale(true));
  document.addEventListener("htmx:responseError", () => stale(true));
  document.addEventListener("htmx:afterOnLoad", () => stale(false));

  let kept = [];
  document.addEventListener("htmx:beforeSwap", () => {
    kept = [...document.querySelectorAll(".scroll")].map((box) => [box.id, box.scrollLeft]);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const [id, left] of kept) {
      const box = document.getElementById(id);
      if (box) box.scrollLeft = left;
    }
  });
})();
