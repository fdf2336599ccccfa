// Pages by the part of the address behind the #: a path, and parameters behind a ?.

/** What the address says: segments, decoded, and parameters. */
export function here() {
  const [where, query = ''] = location.hash.replace(/^#/, '').split('?', 2);
  const segments = where.split('/').filter((segment) => segment !== '').map(decode);
  return { segments, params: new URLSearchParams(query) };
}

function decode(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** The address of a page. */
export function href(segments, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== '' && value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return `#/${segments.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

export function go(segments, params) {
  location.hash = href(segments, params);
}

/** Changes parameters of the page that is shown, without a step in the browser's history and without showing it anew. */
export function change(changes) {
  const { segments, params } = here();
  const all = { ...Object.fromEntries(params), ...changes };
  history.replaceState(null, '', href(segments, all));
}
