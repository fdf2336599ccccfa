// Who asks. The key lives in this tab only, and goes nowhere but into the Authorization header.

const ITEM = 'dunlin-api-key';
const ROLES = ['viewer', 'operator', 'admin'];

export const events = new EventTarget();

let caller = null;

export function key() {
  return sessionStorage.getItem(ITEM);
}

export function keep(wanted) {
  sessionStorage.setItem(ITEM, wanted);
}

export function forget() {
  sessionStorage.removeItem(ITEM);
  caller = null;
}

/** The broker does not let us in, or not any more. */
export function refused(message) {
  const had = key() !== null;
  forget();
  events.dispatchEvent(new CustomEvent('refused', { detail: had ? message : '' }));
}

export function setCaller(wanted) {
  const isNew = caller?.name !== wanted.name || caller?.role !== wanted.role;
  caller = wanted;
  if (isNew) events.dispatchEvent(new Event('caller'));
}

export function current() {
  return caller;
}

/** Whether this role is held; what is not held yet is not offered. */
export function may(role) {
  return caller !== null && ROLES.indexOf(caller.role) >= ROLES.indexOf(role);
}
