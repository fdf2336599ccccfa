// Questions and news. The browser's own modal dialog keeps the focus inside, closes on Escape, and gives the focus back.

import { button, h, unique } from '../lib/dom.js';

/**
 * Opens a dialog with a form. `submit` is called with the values of the fields and may throw: what it throws is shown, and the dialog
 * stays. Resolves to `true` once it is done, to `false` if the reader thinks better of it.
 */
export function ask({ title, content = [], action, danger = false, submit }) {
  return new Promise((resolve) => {
    const id = unique('dialog');
    const fault = h('p', { class: 'fault', role: 'alert' });
    const confirm = h('button', { type: 'submit', class: `button is-main ${danger ? 'is-danger' : ''}` }, action);
    const cancel = button('Cancel', () => dialog.close());
    const form = h('form', { class: 'form', novalidate: true },
      h('h2', { id }, title), ...content, fault, h('div', { class: 'buttons' }, cancel, confirm));
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': id }, form);
    let isDone = false;

    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      confirm.disabled = true;
      fault.textContent = '';
      try {
        await submit(new FormData(form));
        isDone = true;
        dialog.close();
      } catch (error) {
        fault.textContent = error.message;
      } finally {
        confirm.disabled = false;
      }
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(isDone);
    });
    document.body.append(dialog);
    dialog.showModal();
    // What destroys is not what the return key finds.
    if (danger) cancel.focus();
    else form.querySelector('input, select, textarea, button')?.focus();
  });
}

/** Something to look at. */
export function show({ title, content }) {
  const id = unique('dialog');
  const close = button('Close', () => dialog.close());
  const dialog = h('dialog', { class: 'dialog is-wide', 'aria-labelledby': id },
    h('div', { class: 'form' }, h('h2', { id }, title), ...content, h('div', { class: 'buttons' }, close)));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}

/** A confirmation: paragraphs of text, and what is to be done. */
export function confirm({ title, text, action, danger = true, submit }) {
  return ask({ title, content: [text].flat().map((line) => h('p', {}, line)), action, danger, submit });
}

const notices = h('div', { class: 'notices', role: 'status', 'aria-live': 'polite' });
const GOOD_MS = 6_000;

/** Where news appear; once in the page. */
export function noticeBoard() {
  return notices;
}

/** Says what was done; a failure stays until it is closed. */
export function tell(text, isBad = false) {
  const close = button('Close', () => notice.remove(), { kind: 'is-plain is-small' });
  const notice = h('div', { class: `notice ${isBad ? 'is-bad' : ''}` }, h('span', {}, text), close);
  notices.append(notice);
  if (!isBad) setTimeout(() => notice.remove(), GOOD_MS);
}
