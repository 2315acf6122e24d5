"use strict";
// Text of models as DOM nodes. Nothing here makes markup from text: text nodes, and MathML that Temml builds as nodes.

const MATHS_CHARS = 3000;
const DELIMITED =
  /\$\$([^]+?)\$\$|\\\[([^]+?)\\\]|\\\(([^]+?)\\\)|\$(?![\s$])((?:\\[^]|[^$\\\n])+?)(?<!\s)\$(?!\d)|\\boxed(?=\{)/g;

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// The end of the group in braces that opens at `start`; -1 when it never closes.
function groupEnd(text, start) {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at + 1;
  }
  return -1;
}

// [{maths: false, text}, {maths: true, text: source, tex, display}, ...] that together make up `text`.
function pieces(text) {
  const found = [];
  let from = 0;
  const plain = (to) => to > from && found.push({maths: false, text: text.slice(from, to)});
  DELIMITED.lastIndex = 0;
  for (let match; (match = DELIMITED.exec(text)); ) {
    let end = DELIMITED.lastIndex;
    let tex = match[1] ?? match[2] ?? match[3] ?? match[4];
    if (tex === undefined) {
      end = groupEnd(text, end);
      if (end < 0) continue;
      tex = text.slice(match.index, end);
    }
    plain(match.index);
    const display = match[1] !== undefined || match[2] !== undefined;
    found.push({maths: true, text: text.slice(match.index, end), tex, display});
    DELIMITED.lastIndex = from = end;
  }
  plain(text.length);
  return found;
}

function mathsNode(source, tex, display) {
  const node = element("span", "maths");
  if (tex.length > MATHS_CHARS) {
    node.textContent = source;
    return node;
  }
  try {
    temml.render(tex, node, {displayMode: display, throwOnError: true, trust: false, maxExpand: 200, maxSize: [20, 400]});
  } catch {
    // Whatever Temml can't read, or what nests too deeply for it, is shown as it was written.
    node.replaceChildren(source);
  }
  return node;
}

// Fills `node` with the text, with its maths rendered unless `asSource`.
function fillText(node, text, asSource) {
  if (asSource) node.textContent = text;
  else for (const piece of pieces(text)) node.append(piece.maths ? mathsNode(piece.text, piece.tex, piece.display) : piece.text.replaceAll("\\$", "$"));
  return node;
}

// An answer, the inside of a box: TeX as a whole where it has any sign of it.
function fillAnswer(node, text, asSource) {
  const tex = !asSource && !text.includes("$") && /[\\^_]/.test(text);
  if (tex) node.append(mathsNode(text, text, false));
  else fillText(node, text, asSource);
  return node;
}

// Says that a text is not whole: texts come as [text, how many characters were left out].
function partNote(leftOut) {
  return leftOut ? [element("span", "part", `Shown in part: ${leftOut.toLocaleString("en")} characters are left out.`)] : [];
}
