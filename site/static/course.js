"use strict";

// A page opened from the disk may not read its neighbours, so search shows titles alone there.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Makes a card turn: by a click anywhere on it, or by its button, which Enter and Space press.
function makeTurn(card) {
  const answer = card.querySelector(".flashcard-answer");
  const inner = document.createElement("div");
  inner.className = "flashcard-inner";
  inner.append(card.querySelector(".flashcard-question"), answer);
  answer.id = `${card.id}-answer`;
  answer.setAttribute("aria-live", "polite"); // so that a turned card is read out

  const button = document.createElement("button");
  button.type = "button";
  button.className = "flashcard-turn";
  button.setAttribute("aria-controls", answer.id);
  const name = card.getAttribute("aria-label").toLowerCase(); // card 3 of 12

  function show(turned) {
    card.classList.toggle("turned", turned);
    button.setAttribute("aria-expanded", String(turned));
    button.textContent = turned ? "Show the question" : "Show the answer";
    button.setAttribute("aria-label", `${button.textContent} of ${name}`);
  }
  const turn = () => show(!card.classList.contains("turned"));
  button.addEventListener("click", turn);
  inner.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) turn();
  });
  show(false);
  card.append(inner, button);
  card.classList.add("turns");
}

document.querySelectorAll(".flashcard").forEach(makeTurn);

// The theme's arrows beside pages that have pages of their own bear no name.
document.querySelectorAll(".bd-sidebar-primary details > summary").forEach((summary) => {
  const page = summary.closest("li").querySelector("a").textContent.trim();
  summary.setAttribute("aria-label", `Pages of ${page}`);
});

// What scrolls must be reachable by keyboard: equations and figures that are wider than a phone.
const WIDE = "mjx-container[display], article figure";
const reachable = () => document.querySelectorAll(WIDE).forEach((box) => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
});
window.addEventListener("load", () => {
  reachable();
  window.MathJax?.startup?.promise.then(reachable);
});
window.addEventListener("resize", reachable);
