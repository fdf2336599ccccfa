// Elements. Text becomes a text node and nothing else: there is no way from a string to markup in here.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes and children; strings are text, `null` and `false` are nothing. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === 'on') {
    for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
  } else if (name === 'value' || name === 'checked' || name === 'disabled') {
    element[name] = value;
  } else {
    element.setAttribute(name, value === true ? '' : String(value));
  }
}

/** Shows these children instead of those that are there. */
export function show(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return parent;
}

/** Changes text only if it differs, so that a screen reader and a selection are left alone. */
export function write(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

let count = 0;

/** An identifier that no other element has. */
export function unique(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

export function button(label, action, { kind = '', ...attributes } = {}) {
  return h('button', { type: 'button', class: `button ${kind}`.trim(), on: { click: action }, ...attributes }, label);
}
