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

// A filter sends itself when something is chosen.
document.addEventListener("change", (event) => {
  const field = event.target;
  if (field.matches("select[data-submit], input[data-submit]")) field.form.requestSubmit();
});

// A form marked data-confirm and a button marked data-all ask once before they are sent. The figures around
// them may have been swapped meanwhile: what was asked about is sent all the same.
(() => {
  "use strict";
  const dialog = document.getElementById("ask");
  const ask = (question, then) => {
    document.getElementById("ask-words").textContent = question;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && then(), { once: true });
    dialog.showModal();
  };
  const send = (form, button) => {
    form.dataset.asked = "yes";
    if (!form.isConnected) {
      form.hidden = true;
      document.body.append(form);
    }
    form.requestSubmit(button);
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const button = event.submitter;
    const question = form.dataset.confirm ?? button?.dataset.all;
    if (!question || form.dataset.asked) {
      delete form.dataset.asked;
      return;
    }
    event.preventDefault();
    ask(question, () => send(form, button));
  });
})();

// A slider and the number beside it say the same.
(() => {
  "use strict";
  document.addEventListener("input", (event) => {
    const { mirror, mirrors } = event.target.dataset;
    const other = mirror ? document.getElementById(mirror) : mirrors && event.target.form.elements[mirrors];
    if (other) other.value = event.target.value;
  });
})();

// A file that is too large is told before it is sent: a server that does not read it could not answer in words.
(() => {
  "use strict";
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.matches("input[type=file][data-most-bytes]")) return;
    const large = [...field.files].some((file) => file.size > Number(field.dataset.mostBytes));
    field.setCustomValidity(large ? field.dataset.tooLarge : "");
    field.reportValidity();
  });
})();

// A part that says why not is shown like any other; a whole page is never put into another.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event;
  if (detail.xhr.status >= 400 && !detail.xhr.responseText.startsWith("<!doctype")) detail.shouldSwap = true;
});

// On a phone a row of a wide table becomes a block, in which each cell says the name of its column.
(() => {
  "use strict";
  const name = (root) => {
    for (const table of root.querySelectorAll("table.stacked")) {
      const heads = [...(table.tHead?.rows[0]?.cells ?? [])].map((cell) => (cell.querySelector(".visually-hidden") ? "" : cell.innerText.trim()));
      for (const row of table.querySelectorAll("tbody tr, tfoot tr")) {
        for (const cell of row.cells) {
          const label = heads[cell.cellIndex];
          const named = cell.tagName === "TH" || cell.colSpan > 1 || cell.dataset.label !== undefined;
          if (!named && label && (cell.children.length || cell.innerText.trim())) cell.dataset.label = label;
        }
      }
    }
  };
  name(document);
  document.addEventListener("htmx:afterSettle", (event) => name(event.target));
  document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
})();

// The stream of changes ends each minute and the browser opens the next one by itself. That is no error to
// complain of; only a stream that the browser gives up is, and then it is opened anew.
htmx.createEventSource = (address) => {
  const source = new EventSource(address, { withCredentials: true });
  let complain = null;
  Object.defineProperty(source, "onerror", { get: () => complain, set: (handler) => { complain = handler; } });
  source.addEventListener("error", (event) => {
    if (source.readyState === EventSource.CLOSED) complain?.call(source, event);
  });
  return source;
};
