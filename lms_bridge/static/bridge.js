"use strict";
// What the pages do better with a script; every one of them works without it.

// Browsers that know autofocus on any element have done it themselves.
for (const summary of document.querySelectorAll("[data-focus]")) if (!("autofocus" in summary)) summary.focus();

for (const button of document.querySelectorAll("[data-reveal]")) {
  const fields = button.dataset.reveal.split(" ").map((id) => document.getElementById(id));
  const label = button.firstChild;
  const words = { password: label.data, text: button.dataset.hide };
  const show = (type) => {
    for (const field of fields) field.type = type;
    label.data = words[type];
    button.setAttribute("aria-pressed", String(type === "text"));
  };
  button.hidden = false;
  button.addEventListener("click", () => show(fields[0].type === "password" ? "text" : "password"));
  // A field shown as text would be kept in the browser's list of form values.
  fields[0].form.addEventListener("submit", () => show("password"));
}

for (const line of document.querySelectorAll("[data-strength]")) {
  const field = document.getElementById(line.dataset.strength);
  const judge = () => {
    const letters = [...field.value];
    const different = new Set(letters).size;
    const enough = letters.length >= line.dataset.minimum && different > 4;
    const level = !letters.length ? "" : !enough ? "weak" : letters.length < 18 || different < 9 ? "fair" : "good";
    line.dataset.level = level;
    // Said again only when it changes: a screen reader speaks each change.
    if (line.textContent !== (line.dataset[level] || "")) line.textContent = line.dataset[level] || "";
  };
  field.addEventListener("input", judge);
}

for (const form of document.querySelectorAll("[data-wait]")) {
  const button = form.querySelector("button");
  const left = form.querySelector("[data-left]");
  const until = Date.now() + form.dataset.wait * 1000;
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    if (seconds > 0) {
      left.textContent = seconds;
      setTimeout(tick, 1000);
    } else {
      button.disabled = false;
      button.removeAttribute("aria-describedby");
      left.closest(".form-text").remove();
    }
  };
  tick();
}

for (const line of document.querySelectorAll("[data-state]")) {
  const typing = () => [...document.querySelectorAll(".code")].some((field) => field.value);
  let pause = 3000;
  const ask = async () => {
    try {
      // A page left open in the background asks nothing; somebody typing a code is not moved away.
      if (!document.hidden && !typing()) {
        const answer = await fetch(line.dataset.state, { headers: { Accept: "application/json" }, cache: "no-store" });
        if (answer.ok && (await answer.json()).confirmed) return location.assign(line.dataset.continue);
      }
    } catch {
      // Offline for a moment: ask again later.
    }
    pause = Math.min(pause * 1.2, 15000);
    setTimeout(ask, pause);
  };
  setTimeout(ask, pause);
}

for (const page of document.querySelectorAll("[data-refresh]")) {
  setTimeout(() => location.reload(), page.dataset.refresh * 1000);
}
