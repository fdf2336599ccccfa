// Light, dark, or as the system wishes; the choice is kept in this browser.

const ITEM = 'dunlin-theme';
const CHOICES = ['light', 'auto', 'dark'];

export function choice() {
  const kept = localStorage.getItem(ITEM);
  return CHOICES.includes(kept) ? kept : 'auto';
}

export function choose(wanted) {
  if (wanted === 'auto') localStorage.removeItem(ITEM);
  else localStorage.setItem(ITEM, wanted);
  apply();
}

export function apply() {
  const wanted = choice();
  if (wanted === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
}
