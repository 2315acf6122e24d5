"use strict";
// The browser of questions, and the search in the settings. Each round's questions lie in the page as an index block and
// blocks of 64 questions, unpacked when needed (verl_rzero/watch/web/pack.py).

const ROWS_ON_PAGE = 50;
const BLOCK = 64;
const BLOCKS_KEPT = 4;
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function questions(section) {
  const fates = JSON.parse(section.dataset.fates);
  const form = section.querySelector("form");
  const list = section.querySelector(".list");
  const fields = form.elements;
  const blocks = new Map();
  let rows = [];
  let found = [];
  let first = 0;

  async function load() {
    for (const round of section.dataset.rounds.split(",")) {
      const index = await unpack(`block-${round}-index`);
      const names = Object.keys(index);
      for (let at = 0; names.length && at < index.id.length; at++) {
        const row = {round: Number(round), at, asked: rows.length};
        for (const name of names) row[name] = index[name][at];
        rows.push(row);
      }
    }
    section.querySelector(".truth").hidden = !rows.some((row) => row.right !== null);
    apply();
    openLinked();
  }

  async function texts(row) {
    const id = `block-${row.round}-${Math.floor(row.at / BLOCK)}`;
    if (!blocks.has(id)) {
      if (blocks.size >= BLOCKS_KEPT) blocks.delete(blocks.keys().next().value);
      blocks.set(id, unpack(id));
    }
    return (await blocks.get(id))[row.at % BLOCK];
  }

  function wanted() {
    const words = fields.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [round, decision, reason, right] = ["round", "decision", "reason", "right"].map((name) => fields[name].value);
    const from = fields.from.value === "" ? null : Number(fields.from.value) - 1e-9;
    const to = fields.to.value === "" ? null : Number(fields.to.value) + 1e-9;
    return (row) => {
      if (round && row.round !== Number(round)) return false;
      if (decision && row.decision !== decision) return false;
      if (reason && row.reason !== reason) return false;
      if (right && row.right !== (right === "true")) return false;
      if (from !== null && !(row.agreement !== null && row.agreement >= from)) return false;
      if (to !== null && !(row.agreement !== null && row.agreement <= to)) return false;
      if (!words.length) return true;
      row.searched ??= `${row.question}\n${row.label ?? ""}`.toLowerCase();
      return words.every((word) => row.searched.includes(word));
    };
  }

  // Each order as a number to sort by, smallest first; questions without votes come last.
  const orders = {
    asked: (row) => row.asked,
    agreement: (row) => row.agreement ?? 2,
    "agreement-down": (row) => -(row.agreement ?? -1),
    half: (row) => (row.agreement === null ? 2 : Math.abs(row.agreement - 0.5)),
    classes: (row) => -(row.sizes?.length ?? -1),
    length: (row) => -row.length,
  };

  function apply() {
    const order = orders[fields.sort.value];
    found = rows.filter(wanted()).sort((a, b) => order(a) - order(b) || a.asked - b.asked);
    first = 0;
    const all = rows.length.toLocaleString("en");
    section.querySelector(".count").value = found.length === rows.length ? `${all} questions` : `${found.length.toLocaleString("en")} of ${all} questions`;
    section.querySelector(".reset").hidden = found.length === rows.length;
    show();
  }

  function show() {
    const shown = found.slice(first, first + ROWS_ON_PAGE);
    list.replaceChildren(...shown.map(item));
    section.querySelector(".where").value = found.length ? `${first + 1} to ${first + shown.length}` : "none";
    section.querySelector(".previous").disabled = first === 0;
    section.querySelector(".next").disabled = first + ROWS_ON_PAGE >= found.length;
  }

  function squares(count, tone) {
    return Array.from({length: count}, () => element("i", tone));
  }

  function voteMarks({sizes, votes}) {
    const node = element("span", "votes");
    if (!sizes) return node;
    const sorted = [...sizes].sort((a, b) => b - a);
    const tones = ["top", "second", "third"];
    sorted.forEach((size, rank) => node.append(...squares(size, tones[rank] ?? "")));
    const missing = votes - sorted.reduce((sum, size) => sum + size, 0);
    node.append(...squares(missing, "none"));
    node.title = `${sorted[0] ?? 0} of ${votes} agree`;
    return node;
  }

  function rightMark(right) {
    return right === null ? [] : [element("span", right ? "yes" : "no", right ? " \u2713" : " \u2717")];
  }

  function item(row) {
    const node = element("li");
    node.id = `q-${row.round}-${row.id}`;
    const button = element("button", "row");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    const label = element("span", "label", row.label ?? "");
    label.append(...(row.label === null ? [] : rightMark(row.right)));
    const fate = fates[row.reason ?? row.decision] ?? row.reason;
    button.append(voteMarks(row), element("span", "ask", row.question), label, element("span", `fate ${row.decision}`, fate));
    button.addEventListener("click", () => toggle(node, row));
    node.append(button);
    return node;
  }

  async function toggle(node, row) {
    const button = node.firstChild;
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    node.classList.toggle("open", open);
    if (!open) {
      node.lastChild.remove();
      return;
    }
    const detail = element("div", "detail");
    node.append(detail);
    const full = await texts(row);
    fill(detail, row, full);
    history.replaceState(null, "", `#${node.id}`);
  }

  function fill(detail, row, full) {
    const source = fields.source.checked;
    if (full.question) {
      const text = fillText(element("p", "question"), full.question[0], source);
      text.append(...partNote(full.question[1]));
      detail.append(text);
    }
    detail.append(facts(row, full, source));
    if (full.answers) detail.append(element("h3", "", `The Solver\u2019s ${full.answers.length} answers`), classes(row, full, source));
    const raw = element("pre", "raw", full.raw[0]);
    raw.append(...partNote(full.raw[1]));
    detail.append(element("h3", "", "The Challenger\u2019s whole text"), raw);
  }

  function facts(row, full, source) {
    const node = element("p", "facts", `Round ${row.round}, question ${row.id}. `);
    if (row.agreement !== null) {
      node.append(`${Math.max(0, ...row.sizes)} of ${row.votes} answers agree, ${row.answered} answered. `);
    }
    node.append(row.decision === "kept" ? "Kept. " : row.decision === "rejected" ? `Rejected: ${fates[row.reason] ?? row.reason}. ` : "Not decided yet. ");
    if (full.truth !== null && full.truth !== undefined) {
      node.append("The true answer is ", fillAnswer(element("b"), full.truth, source));
      node.append(row.right ? "; the label is true. " : "; the label is not. ");
    }
    if (full.claimed !== null) node.append("The Challenger itself boxed ", fillAnswer(element("b"), full.claimed, source), " (not used).");
    return node;
  }

  // The answers by class, the largest first, those without an answer last.
  function classes(row, full, source) {
    const groups = new Map();
    full.classes.forEach((number, at) => groups.set(number, [...(groups.get(number) ?? []), at]));
    const sorted = [...groups].sort(([a, of], [b, to]) => (a < 0) - (b < 0) || to.length - of.length || a - b);
    const node = element("div", "classes");
    sorted.forEach(([number, members], rank) => node.append(group(number, members, rank, row, full, source)));
    return node;
  }

  function group(number, members, rank, row, full, source) {
    const node = element("details", "class");
    const head = element("summary");
    const marks = element("span", "votes");
    marks.append(...squares(members.length, number < 0 ? "none" : (["top", "second", "third"][rank] ?? "")));
    const answer = element("span", "answer");
    if (number < 0) answer.append("no answer");
    else {
      const spellings = [...new Set(members.map((at) => full.answers[at]))];
      spellings.forEach((text, at) => answer.append(at ? ", also " : "", fillAnswer(element("span"), text, source)));
      if (rank === 0) answer.append(element("b", "", " \u2190 label"), ...rightMark(row.right));
    }
    head.append(marks, answer, element("span", "more", members.length > 1 ? `${members.length} replies` : "1 reply"));
    node.append(head);
    node.addEventListener("toggle", () => {
      if (!node.open || node.childElementCount > 1) return;
      for (const at of members) {
        const [text, leftOut] = full.replies[at];
        const reply = fillText(element("div", "reply"), text, source);
        reply.append(...partNote(leftOut));
        node.append(reply);
      }
    });
    return node;
  }

  // #q-<round>-<id> opens that question.
  function openLinked() {
    const [, round, id] = location.hash.match(/^#q-(\d+)-(\d+)$/) ?? [];
    const at = found.findIndex((row) => row.round === Number(round) && row.id === Number(id));
    if (round === undefined || at < 0) return;
    first = at - (at % ROWS_ON_PAGE);
    show();
    const node = list.children[at - first];
    node.firstChild.click();
    node.scrollIntoView();
  }

  function turn(by) {
    first += by;
    show();
    section.querySelector(".found").scrollIntoView();
  }

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  section.querySelector(".reset").addEventListener("click", () => (form.reset(), apply()));
  section.querySelector(".previous").addEventListener("click", () => turn(-ROWS_ON_PAGE));
  section.querySelector(".next").addEventListener("click", () => turn(ROWS_ON_PAGE));
  return load();
}

function settings(section) {
  const rows = [...section.querySelectorAll(".settings tr")];
  section.querySelector("input").addEventListener("input", ({target}) => {
    const words = target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  });
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
}

const questionsSection = document.querySelector("#questions");
if (questionsSection) questions(questionsSection).then(() => questionsSection.classList.add("ready"));
settings(document.querySelector("#settings"));
