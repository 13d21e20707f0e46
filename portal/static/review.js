// The review queue by keyboard. Every key presses something that is on the page, so all of it works without.
(() => {
  "use strict";
  const stops = () => [...document.querySelectorAll("[data-stop]")];
  const press = (selector) => document.querySelector(selector)?.click();
  const move = (by) => {
    const all = stops();
    const at = all.indexOf(document.activeElement);
    all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]?.focus();
  };
  // Without a selection, a and r are about the line that has the focus.
  const decide = (selector) => {
    const row = document.activeElement;
    if (!document.querySelector("[data-row]:checked") && row.matches("[data-row]")) row.checked = true;
    press(selector);
  };
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    x: () => document.activeElement.matches("[data-row]") && document.activeElement.click(),
    a: () => decide("[data-approve]"),
    r: () => {
      const reason = document.querySelector("select[name=reason]");
      if (reason && !reason.value) reason.focus();
      else decide("[data-reject]");
    },
    n: () => press("[data-next]"),
    p: () => press("[data-previous]"),
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.matches("input:not([type=checkbox]), select, textarea");
    const asked = document.querySelector("dialog[open]");
    if (field || asked || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
})();
