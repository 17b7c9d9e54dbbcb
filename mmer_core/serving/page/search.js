// The search page: what is asked stands in the address, so that back, forward, reload and links work.
"use strict";

const RATINGS = ["valence", "arousal", "dominance"];
const LOWEST = 1, HIGHEST = 10;
const byId = (id) => document.getElementById(id);
let about = null;
let newest = 0;

// Characters that would turn the text around them, or cannot be seen, written out; line breaks stay.
const ACTING = /(?![\n\t])[\p{Cc}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;
function shown(text) {
  return text.replace(ACTING, (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);
}

// An element with properties and children; text is text, never HTML.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const name of ["textContent", "title", "alt"]) {
    if (properties[name]) element[name] = shown(properties[name]);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

async function fetched(url, options = {}) {
  const answer = await fetch(url, options);
  let body;
  try {
    body = await answer.json();
  } catch {
    throw new Error(`the service answered ${answer.status} without a reason`);
  }
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function say(text, wrong = false) {
  byId("status").textContent = shown(text);
  byId("status").classList.toggle("wrong", wrong);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");
}

function count(number) {
  return number.toLocaleString("en");
}

function picture(photo, words) {
  const frame = make("div", { className: "picture" });
  const gone = () => frame.replaceChildren("No picture");
  if (photo.image) frame.append(make("img", { src: photo.image, alt: words, onerror: gone }));
  else gone();
  return frame;
}

function chips(labels) {
  if (!labels.length) return null;
  return make("ul", { className: "chips" }, ...labels.map((label) => make("li", { textContent: label })));
}

function rated(ratings) {
  return Object.entries(ratings).map(([name, value]) => `${name} ${value.toFixed(1)}`).join(" · ");
}

function card(hit) {
  const facts = make("p", { className: "facts" }, make("b", { textContent: hit.score.toFixed(3), title: "cosine similarity" }));
  const more = [about && about.splits.length > 1 ? hit.split : "", rated(hit.ratings)].filter(Boolean).join(" · ");
  if (more) facts.append(` · ${shown(more)}`);
  const link = make(
    "a",
    { href: `/photo?${new URLSearchParams({ id: hit.id })}` },
    picture(hit, hit.caption || hit.id),
    make("p", { className: "caption", textContent: hit.caption || hit.id, title: hit.caption }),
    facts,
    chips(hit.labels),
  );
  link.dataset.id = hit.id;
  return make("li", {}, link);
}

function show(hits, what, seconds) {
  byId("found").replaceChildren(...hits.map(card));
  const found = hits.length === 1 ? `1 ${what.replace(/s$/, "")}` : `${hits.length} ${what}`;
  say(hits.length ? `${found} in ${Math.max(1, Math.round(1000 * seconds))} ms, the most similar first` : "Nothing found");
}

// Runs the newest of several searches only: answers may overtake each other.
async function run(work) {
  const mine = ++newest;
  say("Searching …");
  byId("found").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const result = await work();
    if (mine === newest) result((performance.now() - began) / 1000);
  } catch (error) {
    if (mine !== newest) return;
    byId("found").replaceChildren();
    say(sentence(error.message), true);
  } finally {
    if (mine === newest) byId("found").removeAttribute("aria-busy");
  }
}

// What the form asks for beside the text, without what is the default.
function options() {
  const asked = new URLSearchParams();
  for (const name of ["target", "k", "split", "label"]) {
    const field = byId(name);
    const usual = field.querySelector("option[selected]") || field.options[0];
    if (field.value !== usual.value) asked.set(name, field.value);
  }
  for (const name of about ? about.ratings : []) {
    const low = byId(`${name}-low`).value, high = byId(`${name}-high`).value;
    if (low || high) asked.set(name, `${low || LOWEST},${high || HIGHEST}`);
  }
  return asked;
}

function fillForm(asked) {
  byId("text").value = asked.get("text") || "";
  for (const name of ["target", "k", "split", "label"]) {
    const field = byId(name);
    const usual = field.querySelector("option[selected]") || field.options[0];
    field.value = asked.get(name) || usual.value;
    if (!field.value) field.value = usual.value;
  }
  for (const name of about ? about.ratings : []) {
    const [low, high] = (asked.get(name) || `${LOWEST},${HIGHEST}`).split(",");
    // An end of the scale is no limit, and its field stays free to be typed into.
    byId(`${name}-low`).value = Number(low) > LOWEST ? low : "";
    byId(`${name}-high`).value = Number(high) < HIGHEST ? high : "";
  }
}

function named(target) {
  return target === "text" ? "captions" : "photos";
}

function searchText(asked) {
  document.title = shown(`${asked.get("text")}: mmer`);
  run(async () => {
    const body = await fetched(`/api/search?${asked}`);
    return (seconds) => show(body.results[0].hits, named(body.target), seconds);
  });
}

function searchPhoto(file) {
  history.pushState(null, "", "/");
  byId("text").value = "";
  const url = URL.createObjectURL(file);
  const image = make("img", { src: url, alt: "the photo that was asked for" });
  byId("asked").replaceChildren(make("div", { className: "asked" }, image, make("span", { textContent: file.name })));
  document.title = shown(`${file.name}: mmer`);
  run(async () => {
    const body = await fetched(`/api/search?${options()}`, {
      method: "POST", body: file, headers: { "Content-Type": file.type || "application/octet-stream" },
    });
    return (seconds) => show(body.results[0].hits, named(body.target), seconds);
  });
}

function showPhoto(id) {
  run(async () => {
    const query = new URLSearchParams({ id });
    const photo = await fetched(`/api/photo?${query}`);
    query.set("k", 13);
    const body = await fetched(`/api/search?${query}`);
    return (seconds) => {
      document.title = shown(`${photo.id}: mmer`);
      const more = [photo.split && `split ${photo.split}`, rated(photo.ratings)].filter(Boolean).join(" · ");
      const words = make(
        "div", {},
        make("h1", { textContent: photo.captions[0] || photo.id }),
        make("p", { className: "facts", textContent: [photo.id, more].filter(Boolean).join(" · ") }),
        chips(photo.labels),
        photo.captions.length > 1
          ? make("ul", { className: "captions" }, ...photo.captions.slice(1).map((one) => make("li", { textContent: one })))
          : null,
      );
      const back = make("a", { className: "back", href: "/", textContent: "← Back" });
      back.onclick = (event) => {
        if (!cameFromHere) return;
        event.preventDefault();
        history.back();
      };
      const article = make("article", { className: "photo" }, picture(photo, photo.captions[0] || photo.id), words);
      byId("asked").replaceChildren(back, article, make("h2", { textContent: "More like this" }));
      show(body.results[0].hits.filter((hit) => hit.id !== id).slice(0, 12), "photos", seconds);
    };
  });
}

// What an empty page says.
function welcome() {
  const example = (caption) =>
    make("li", {}, make("a", { href: `/?${new URLSearchParams({ text: caption })}`, textContent: caption }));
  const texts = about.examples;
  return make(
    "div", { className: "welcome" },
    make("h1", { textContent: `Search ${count(about.images)} photos` }),
    make("p", {}, "Say what should be in the picture, or give a photo of yours: choose one, or drop it anywhere."),
    texts.length ? make("p", {}, "For example:") : null,
    make("ul", {}, ...texts.map(example)),
    make("p", { className: "keys" }, make("kbd", { textContent: "/" }), " goes to the search field, arrows move between results, ",
      make("kbd", { textContent: "Enter" }), " opens one, ", make("kbd", { textContent: "Esc" }), " goes back."),
  );
}

let cameFromHere = false;

// Shows what the address asks for.
function open() {
  const asked = new URLSearchParams(location.search);
  byId("asked").replaceChildren();
  if (location.pathname === "/photo") {
    showPhoto(asked.get("id") || "");
    return;
  }
  fillForm(asked);
  if (asked.get("text")) {
    searchText(asked);
    return;
  }
  newest++;
  document.title = "Search: mmer";
  byId("found").replaceChildren();
  byId("asked").replaceChildren(...(about ? [welcome()] : []));
  say("");
  byId("text").focus();
}

function go(url) {
  cameFromHere = true;
  history.pushState(null, "", url);
  open();
  scrollTo(0, 0);
}

function submit() {
  const text = byId("text").value.trim();
  if (!text) {
    say("Say what to look for, or choose a photo.");
    byId("text").focus();
    return;
  }
  const asked = options();
  const all = new URLSearchParams({ text });
  asked.forEach((value, name) => all.append(name, value));
  go(`/?${all}`);
}

// Arrows move between results as they lie on the page.
function move(event) {
  const results = [...byId("found").querySelectorAll("a")];
  const here = results.indexOf(document.activeElement);
  if (here < 0) return;
  const columns = results.filter((link) => link.offsetTop === results[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const next = results[here + step];
  if (step === undefined || !next) return;
  event.preventDefault();
  next.focus();
}

function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("text").select();
    byId("text").focus();
  } else if (event.key.startsWith("Arrow") && !typing) {
    move(event);
  } else if (event.key === "Escape" && location.pathname === "/photo" && cameFromHere) {
    history.back();
  }
}

function links(event) {
  const link = event.target.closest("a");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || link.hash) return;
  event.preventDefault();
  go(url.pathname + url.search);
}

function drop(event) {
  event.preventDefault();
  document.documentElement.classList.toggle("dropping", event.type === "dragover");
  const [file] = event.type === "drop" ? event.dataTransfer.files : [];
  if (file) searchPhoto(file);
}

function fillChoices() {
  for (const [name, values, field] of [["split", about.splits, "in-split"], ["label", about.labels, "with-label"]]) {
    byId(name).append(...values.map((value) => make("option", { value, textContent: value })));
    byId(field).hidden = values.length < 2;
  }
  const limit = (name, end) =>
    make("input", { id: `${name}-${end}`, type: "number", min: LOWEST, max: HIGHEST, step: 0.1, ariaLabel: `${name}, ${end}est` });
  byId("ratings").append(
    ...RATINGS.filter((name) => about.ratings.includes(name)).map((name) =>
      make("fieldset", {}, make("legend", { textContent: sentence(name).slice(0, -1) }), limit(name, "low"), "to", limit(name, "high")),
    ),
  );
  byId("about").textContent =
    shown(`${about.dataset || "index"}: ${count(about.images)} photos and ${count(about.texts)} captions · ${about.index}`);
}

async function start() {
  byId("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  byId("form").addEventListener("change", (event) => {
    if (event.target.id !== "photo" && event.target.id !== "text" && byId("text").value.trim()) submit();
  });
  byId("photo").addEventListener("change", () => {
    const [file] = byId("photo").files;
    if (file) searchPhoto(file);
    byId("photo").value = "";
  });
  addEventListener("popstate", open);
  addEventListener("keydown", keys);
  addEventListener("click", links);
  for (const name of ["dragover", "dragleave", "drop"]) addEventListener(name, drop);
  try {
    about = await fetched("/api/index");
    fillChoices();
  } catch (error) {
    say(sentence(error.message), true);
  }
  open();
}

start();
